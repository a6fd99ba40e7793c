"""Which collective a test ran, over how many ranks, and whether its columns agree with each other.

nccl-tests prints algbw = size / time and busbw = algbw times a factor of the collective and its ranks (doc/PERFORMANCE.md of
NVIDIA/nccl-tests): 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather, reduce-scatter and all-to-all, 1 otherwise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.calibration.logs.benchmark import Benchmark
from planner.calibration.logs.facts import BINARIES
from planner.calibration.logs.rows import TYPE_BYTES, Row, Timed
from planner.costs.collectives import Collective, busbw_factor
from planner.errors import PlannerError

SLACK = 0.004
"""Relative difference between columns beyond what their printed digits allow: rates are computed before times are rounded."""

MOST_RANKS = 131_072

SHARED_OUT: tuple[Collective, ...] = ("all_gather", "reduce_scatter", "all_to_all")
"""Collectives whose buffer is one part per rank: ``count`` is that of a part, the factor is (n - 1) / n."""


@dataclass(frozen=True)
class Identity:
    """What a test measured.

    Args:
        rows: those whose columns agree; a cut one at the edge of the file is left out.
        notes: what was concluded, and what was left out.
    """

    collective: Collective
    ranks: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def identify(test: Benchmark, collective: Collective | None, ranks: int | None) -> Identity | None:
    """Collective and ranks of a test, None where its program runs nothing that the cost model prices.

    Args:
        collective, ranks: what the user says; they must agree with the log.

    Raises:
        PlannerError: columns that contradict each other, with the line; nothing that tells collective or ranks.
    """
    program = test.facts.program
    if program is not None and BINARIES[program] is None and collective is None:
        return None
    rows, notes = _agreeing(test)
    factor = _factor(rows)
    if factor is None and any(timed.algbw >= 1.0 for row in rows for timed in row.timed):
        raise _fault(
            test, rows[0], "busbw is 0: one rank, or processes that do not know of each other, move nothing"
        )
    named = collective or (BINARIES[program] if program is not None else None)
    known = ranks or _known_ranks(test, rows)
    members, told = _ranks(test, rows, named, known, factor, given=ranks is not None)
    notes += told
    chosen = named or _collective(test, rows, members, factor)
    _check_rates(test, rows, float(busbw_factor(chosen, members)), f"{chosen} over {members} ranks")
    return Identity(chosen, members, tuple(rows), tuple(notes))


def _known_ranks(test: Benchmark, rows: Sequence[Row]) -> int | None:
    """Ranks by the buffers that are shared out, else by the devices, else as the library said."""
    return _parts(max(rows, key=lambda row: row.size)) or test.facts.listed_ranks or test.facts.communicator


def _parts(row: Row) -> int | None:
    """Parts of which ``count`` is one, where there are several: one for each rank."""
    parts = round(row.size / (TYPE_BYTES[row.type] * row.count)) if row.count else 1
    return parts if parts > 1 else None


def _agreeing(test: Benchmark) -> tuple[list[Row], list[str]]:
    """Rows whose size, time and algbw agree; those without any size are left out."""
    rows: list[Row] = []
    empty, notes = 0, list(test.notes)
    for row in test.rows:
        if row.size == 0 or not row.timed:
            empty += 1
            continue
        reason = next((reason for timed in row.timed if (reason := _wrong_rate(row, timed))), None)
        if reason is None:
            rows.append(row)
        elif row.line in test.truncated:
            notes.append(f"line {row.line}: cut off at the edge of the log")
        else:
            raise _fault(test, row, reason)
    if empty:
        notes.append(f"{empty} rows without any bytes")
    if not rows:
        raise PlannerError("holds no row whose columns agree", file=test.file, line=test.line)
    return rows, notes


def _wrong_rate(row: Row, timed: Timed) -> str | None:
    if timed.time_us <= 0:
        return f"{timed.placement}: found a time of {timed.time_us:g} us"
    rate = row.size / timed.time_us / 1e3
    slack = rate * (SLACK + 0.5 * timed.time_digit_us / timed.time_us) + timed.rate_digit
    if abs(timed.algbw - rate) <= slack:
        return None
    return (
        f"columns contradict each other ({timed.placement}): {row.size} bytes in {timed.time_us:g} us are {rate:.4g} GB/s,"
        f" but algbw says {timed.algbw:g}"
    )


def _factor(rows: Sequence[Row]) -> tuple[float, float] | None:
    """busbw over algbw with its uncertainty, None where all are 0; the median of the faster half, so that one wrong cell
    does not count."""
    known = sorted(
        (timed.algbw, timed.busbw / timed.algbw, _ratio_slack(timed))
        for row in rows
        for timed in row.timed
        if timed.algbw > 0
    )
    fast = known[len(known) // 2 :]
    middle = statistics.median(ratio for _, ratio, _ in fast) if fast else 0.0
    if middle <= 0:
        return None
    return middle, min(slack for _, _, slack in fast)


def _ratio_slack(timed: Timed) -> float:
    return (0.5 + 0.5 * timed.busbw / timed.algbw) * timed.rate_digit / timed.algbw


def _ranks(
    test: Benchmark,
    rows: Sequence[Row],
    named: Collective | None,
    known: int | None,
    factor: tuple[float, float] | None,
    *,
    given: bool,
) -> tuple[int, list[str]]:
    """Ranks of the group and what was concluded: those that are known, unless the list was cut and the factor tells more."""
    possible = [] if factor is None else _by_factor(factor, named)
    if known is not None and (given or not possible or known in possible or possible[-1] < known):
        if test.facts.groups > 1:
            return known, [f"{test.facts.groups} groups ran at the same time"]
        return known, []
    if len(possible) == 1:
        listed = "" if known is None else f"; {known} are listed"
        return possible[0], [f"{possible[0]} ranks, as busbw over algbw says{listed}"]
    if (
        factor is not None
        and named in (None, "all_reduce", *SHARED_OUT)
        and not possible
        and factor[0] != 1.0
    ):
        label = named or "a collective"
        raise _fault(
            test, rows[0], f"busbw is {factor[0]:.4g} times algbw, which {label} has over no number of ranks"
        )
    raise PlannerError(
        "the log does not tell how many ranks took part; state them",
        file=test.file,
        line=test.line,
        field="--ranks",
    )


def _by_factor(factor: tuple[float, float], named: Collective | None) -> list[int]:
    """Numbers of ranks that make a factor, in ascending order."""
    ratio, slack = factor
    passes = 2.0 if named == "all_reduce" or (named is None and ratio > 1.0 + slack) else 1.0
    if named not in (None, "all_reduce", *SHARED_OUT):
        return []
    low, high = (1.0 / (1.0 - min(bound / passes, 1.0 - 1e-7)) for bound in (ratio - slack, ratio + slack))
    first, last = max(math.ceil(low - 1e-9), 2), math.floor(min(high, MOST_RANKS) + 1e-9)
    return list(range(first, last + 1)) if last - first < MOST_RANKS else []


def _collective(
    test: Benchmark, rows: Sequence[Row], ranks: int, factor: tuple[float, float] | None
) -> Collective:
    """The collective that a log without its program's name shows.

    Raises:
        PlannerError: several are possible.
    """
    largest = max(rows, key=lambda row: row.size)
    adds = largest.operation not in (None, "none")
    fits = [name for name in _candidates(largest, adds) if _matches(name, ranks, factor)]
    if set(fits) == {"all_gather", "all_to_all"}:
        checked = [timed.wrong for row in rows for timed in row.timed if timed.placement == "in place"]
        outside = [timed.wrong for row in rows for timed in row.timed if timed.placement == "out of place"]
        if None not in outside and outside:  # only an all-to-all in place goes unchecked
            fits = ["all_to_all"] if checked and set(checked) == {None} else ["all_gather"]
    if len(fits) != 1:
        what = ", ".join(fits) if fits else f"busbw is {factor[0]:.4g} times algbw" if factor else "no rate"
        raise PlannerError(
            f"the log does not tell which collective ran ({what}); state it",
            file=test.file,
            line=test.line,
            field="--collective",
        )
    return fits[0]


def _candidates(row: Row, adds: bool) -> Iterator[Collective]:
    if adds:
        yield from ("all_reduce", "reduce_scatter")
    elif row.operation is None:
        yield from ("all_reduce", *SHARED_OUT, "broadcast", "send_recv")
    else:
        yield from ("all_gather", "all_to_all", "broadcast" if (row.root or 0) >= 0 else "send_recv")


def _matches(name: Collective, ranks: int, factor: tuple[float, float] | None) -> bool:
    if factor is None:
        return False
    return abs(float(busbw_factor(name, ranks)) - factor[0]) <= factor[1] + SLACK * factor[0]


def _check_rates(test: Benchmark, rows: list[Row], factor: float, what: str) -> None:
    """Refuse a busbw that does not follow from its algbw, and a count that does not follow from its size; a cut row at the
    edge of the file is dropped from ``rows``."""
    for row in list(rows):
        reason = next((reason for timed in row.timed if (reason := _wrong_bus(timed, factor, what))), None)
        reason = reason or _wrong_count(row)
        if reason is not None and row.line in test.truncated:
            rows.remove(row)
        elif reason is not None:
            raise _fault(test, row, reason)


def _wrong_bus(timed: Timed, factor: float, what: str) -> str | None:
    slack = factor * (timed.algbw * SLACK + 0.5 * timed.rate_digit) + 0.5 * timed.rate_digit + 1e-9
    if abs(timed.busbw - factor * timed.algbw) <= slack:
        return None
    return (
        f"columns contradict each other ({timed.placement}): {what} has a busbw of {factor:.4g} times algbw, found"
        f" {timed.busbw:g} beside {timed.algbw:g}"
    )


def _wrong_count(row: Row) -> str | None:
    """A count is that of the whole buffer or of one rank's part of it."""
    part = TYPE_BYTES[row.type] * row.count
    if not part or (row.size >= part and row.size % part == 0):
        return None
    return (
        f"columns contradict each other: {row.count} elements of {row.type} are no part of {row.size} bytes"
    )


def _fault(test: Benchmark, row: Row, message: str) -> PlannerError:
    return PlannerError(message, file=test.file, line=row.line)
