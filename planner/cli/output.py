"""What every command prints and where: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import PlannerError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PIPE_WIDTH = 120
SHOW_PROGRESS_AFTER_S = 1.0

ProgressCall = Callable[[float, str], None]


@dataclass(frozen=True)
class Output:
    """How the user wants the answer.

    Args:
        as_json: one JSON object on standard output and nothing else there.
        quiet: no progress, no notes, only the main table.
    """

    as_json: bool
    quiet: bool

    def emit(self, payload: Mapping[str, Any], render: Callable[[Console], None]) -> None:
        """Print the answer: ``payload`` for programs, or what ``render`` draws for people."""
        if self.as_json:
            click.echo(json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False))
        else:
            render(console())

    def note(self, text: str) -> None:
        """A remark on standard error, unless quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    @contextmanager
    def progress(self) -> Iterator[ProgressCall]:
        """A bar on standard error, drawn once the work has lasted over a second; silent when not a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, message: None
            return
        bar = _LateBar(time.monotonic())
        try:
            yield bar.update
        finally:
            bar.stop()


def console() -> Console:
    """Standard output for people: colour only on terminals, wide enough for tables when piped."""
    from rich.console import Console

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(highlight=False, markup=False)
    return Console(highlight=False, markup=False, width=PIPE_WIDTH)


def check_target(path: str | None) -> None:
    """Refuse a file that cannot be written before the work for it begins.

    Raises:
        PlannerError: its folder does not exist or may not be written, or it is a folder itself.
    """
    if path is None:
        return
    file = Path(path)
    if file.is_dir():
        raise PlannerError("cannot be written: is a directory", file=file)
    if not file.parent.is_dir():
        raise PlannerError(f"cannot be written: the folder {file.parent} does not exist", file=file)
    if not os.access(file.parent, os.W_OK):
        raise PlannerError(f"cannot be written: the folder {file.parent} may not be written", file=file)


class _LateBar:
    def __init__(self, started: float) -> None:
        self._started = started
        self._progress: Progress | None = None

    def update(self, done: float, message: str) -> None:
        if self._progress is None:
            if time.monotonic() - self._started < SHOW_PROGRESS_AFTER_S:
                return
            self._progress = _bar()
            self._progress.start()
            self._progress.add_task(message, total=1.0)
        self._progress.update(self._progress.task_ids[0], completed=done, description=message)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
