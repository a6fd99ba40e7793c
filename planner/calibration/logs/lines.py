"""Lines of a log file as its program wrote them: without colours, quoting and what launchers put in front."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from planner.documents.reading import require_file
from planner.errors import PlannerError

LONGEST_LINE = 16 * 1024
"""Bytes of a line that are read; no program prints figures beyond them."""

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_MPI = re.compile(r"^\s*\[\d+,\d+\]\s*<std(?:out|err)>:\s?")


class LogLine(NamedTuple):
    """One line: its 1-based number in the file, and its text."""

    number: int
    text: str


def log_lines(file: Path) -> Iterator[LogLine]:
    """The lines of a text file of any size, read one by one.

    Bytes that are no UTF-8 are replaced: a log may hold what one rank wrote while another was writing. A carriage return
    that redraws a progress bar begins a line of the same number.

    Raises:
        PlannerError: missing, a directory, unreadable, empty, or binary.
    """
    try:
        require_file(file)
        yield from _lines(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PlannerError(f"cannot be read: {reason}", file=file) from None


def _lines(file: Path) -> Iterator[LogLine]:
    number, anything = 0, False
    with file.open("rb") as stream:
        continued = False
        while raw := stream.readline(LONGEST_LINE):
            if b"\x00" in raw:
                raise PlannerError("is a binary file; the text of a log is accepted", file=file)
            if not continued:
                number += 1
                anything = anything or bool(raw.strip())
                for part in raw.decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\r"):
                    yield LogLine(number, cleaned(part))
            continued = not raw.endswith(b"\n")
    if not anything:
        raise PlannerError("is empty", file=file)


def cleaned(text: str) -> str:
    """A line without terminal colours, HTML escapes, ranks of mpirun and quoting of Markdown."""
    plain = _ANSI.sub("", text) if "\x1b" in text else text
    if "&" in plain:
        plain = html.unescape(plain)
    plain = _MPI.sub("", plain.replace("\u00a0", " ").replace("\t", " "))
    return re.sub(r"^\s*(?:>\s?)+", "", plain)
