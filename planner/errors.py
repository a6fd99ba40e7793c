"""The one error type a user sees, and how it names the place of the fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class PlannerError(Exception):
    """Bad input or usage: one clear line, exit code 2.

    Args:
        message: what was found and what is accepted.
        file: the file that holds the fault, when there is one.
        line: 1-based line in that file, when it can be known.
        field: dotted path of the field, for example ``training.seq_len``.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = str(file) if file is not None else None
        self.line = line
        self.field = field

    def __str__(self) -> str:
        place = self.file or ""
        if place and self.line is not None:
            place += f":{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class NoAnswerError(PlannerError):
    """The question has no answer (nothing fits, a bar is missed): exit code 1."""

    exit_code = 1


def suggest(name: str, choices: Iterable[str]) -> str:
    """A sentence that names the nearest valid choice, or all of them when there are few."""
    options = sorted(choices)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if len(options) <= 20:
        return "accepted: " + ", ".join(options)
    return f"{len(options)} names are accepted"
