"""Logs of nccl-tests and rccl-tests taken apart into tests: the rows of each, and what the log says of its ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from planner.calibration.logs.facts import (
    NOISE,
    Facts,
    begins_test,
    ends_test,
    heads_table,
    lists_devices,
    names_program,
)
from planner.calibration.logs.lines import log_lines
from planner.calibration.logs.rows import BrokenRowError, Row, row_in
from planner.errors import PlannerError

MOST_ROWS = 100_000
"""Rows of one test: no sweep is longer."""


@dataclass(frozen=True)
class Benchmark:
    """One test of a log.

    Args:
        facts: what the lines around its table say.
        rows: of its table, in order.
        truncated: line of a row at the end or at the start of the file that may have been cut off.
        notes: what was left out, and why.
    """

    file: Path
    facts: Facts
    rows: tuple[Row, ...]
    truncated: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> int:
        """Where its table begins."""
        return self.rows[0].line


@dataclass
class _Open:
    """The test that is being read."""

    facts: Facts
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True)
class _Broken:
    line: int
    reason: str


def read_benchmarks(file: Path) -> list[Benchmark]:
    """The tests of a log in order.

    Raises:
        PlannerError: unreadable file, a row with missing or foreign cells that is not the last line, or no row at all.
    """
    tests: list[_Open] = []
    broken: _Broken | None = None
    first_text = last_text = 0
    for number, text in log_lines(file):
        if not text.strip(" `~"):
            continue
        first_text = first_text or number
        if broken is not None:
            raise PlannerError(broken.reason, file=file, line=broken.line)
        last_text = number
        try:
            row = row_in(number, text)
        except BrokenRowError as error:
            if NOISE.search(text):
                _at_hand(tests).notes.append(f"line {number}: a row that other output runs through")
            else:
                broken = _Broken(number, str(error))
            continue
        _take(tests, text, row)
    found = [test for test in tests if test.rows]
    if not found:
        raise PlannerError(
            "holds no row of nccl-tests (size, count, type, ..., time, algbw, busbw)", file=file, line=None
        )
    if broken is not None:
        found[-1].notes.append(f"line {broken.line}: cut off at the end of the log")
    return list(_closed(file, found, frozenset((first_text, last_text))))


def _closed(file: Path, tests: list[_Open], edges: frozenset[int]) -> Iterator[Benchmark]:
    for test in tests:
        yield Benchmark(file, test.facts, tuple(test.rows), edges, tuple(test.notes))


def _at_hand(tests: list[_Open]) -> _Open:
    if not tests:
        tests.append(_Open(Facts()))
    return tests[-1]


def _take(tests: list[_Open], text: str, row: Row | None) -> None:
    """Add what a line says to the test at hand, or begin another."""
    test = _at_hand(tests)
    if row is not None:
        if test.ended:
            test = _next(tests, _same_machine(test.facts))
        if len(test.rows) < MOST_ROWS:
            test.rows.append(row)
        return
    if test.rows and (begins_test(text) or lists_devices(text) or names_program(text)):
        test = _next(tests, Facts())
    elif test.rows and heads_table(text):
        test = _next(tests, _same_machine(test.facts))
    elif begins_test(text) and test.facts.ranks:  # an earlier start that came to nothing
        test.facts = Facts(program=test.facts.program)
    test.ended = test.ended or (ends_test(text) and bool(test.rows))
    test.facts.take(text)


def _next(tests: list[_Open], facts: Facts) -> _Open:
    tests.append(_Open(facts))
    return tests[-1]


def _same_machine(facts: Facts) -> Facts:
    """What another table without a list of devices shares with the one before."""
    return Facts(
        ranks=dict(facts.ranks),
        most_on_host=facts.most_on_host,
        repeated=facts.repeated,
        communicator=facts.communicator,
        local_ranks=facts.local_ranks,
        over_efa=facts.over_efa,
    )
