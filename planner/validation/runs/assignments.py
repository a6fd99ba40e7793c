"""Rows that leave settings open: the one assignment per model that explains all of its rows best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.validation.runs.outcome import Outcome
from planner.validation.runs.statistics import ErrorSummary, kendall_tau, summarise

MOST_ASSIGNMENTS = 512


@dataclass(frozen=True)
class Assignment:
    """One model of one family.

    Args:
        setting: the values that explain its rows best, in seconds and bytes together.
        software: as the source names it, else the profile.
        rows: rows that could be read under it; of: rows of the model.
        places: id of such a row -> which of its readings that is.
        time, memory: errors under it.
        memory_tau: Kendall's tau of predicted and measured memory of its distinct figures, None without an order.
    """

    family: str
    accelerator: str
    software: str
    model: str
    setting: Mapping[str, Any]
    rows: int
    of: int
    time: ErrorSummary | None
    memory: ErrorSummary | None
    places: Mapping[str, int]
    memory_tau: float | None = None


def best_assignments(outcomes: Iterable[Outcome]) -> list[Assignment]:
    """For every model with open settings and something measured, in order of appearance."""
    found: dict[tuple[str, str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        row = outcome.row
        if not row.complete and (outcome.measured_s or outcome.memory):
            key = (outcome.family, outcome.accelerator, row.software or row.framework, row.model.name or "")
            found.setdefault(key, []).append(outcome)
    return [best for key, members in found.items() if (best := _best(key, members)) is not None]


def _best(key: tuple[str, str, str, str], members: list[Outcome]) -> Assignment | None:
    tried = [(setting, *_errors(members, setting)) for setting in _settings(members)]
    tried = [item for item in tried if item[1] or item[2]]
    if not tried:
        return None
    most = max(item[3] for item in tried)
    setting, times, sizes, rows = min((item for item in tried if item[3] == most), key=_misfit)
    places = {o.row.id: place for o in members if (place := _place(o, setting)) is not None}
    tau = _memory_tau(members, places)
    return Assignment(*key, setting, rows, len(members), summarise(times), summarise(sizes), places, tau)


def _memory_tau(members: list[Outcome], places: Mapping[str, int]) -> float | None:
    """Order of the fullest figures, copies (equal bytes measured and predicted) counted once."""
    points: dict[tuple[float, float], None] = {}
    for outcome in members:
        place = places.get(outcome.row.id)
        if place is not None and outcome.memory:
            fullest = max(outcome.memory, key=lambda figure: figure.measured_bytes)
            points[fullest.measured_bytes, fullest.by_setting[place]] = None
    return kendall_tau([one for one, _ in points], [other for _, other in points]) if points else None


def _misfit(item: tuple[Mapping[str, Any], list[float], list[float], int]) -> float:
    """Mean size of the log errors; seconds and bytes weigh the same."""
    means = [
        sum(abs(math.log(max(1.0 + error, 1e-9))) for error in errors) / len(errors)
        for errors in (item[1], item[2])
        if errors
    ]
    return sum(means) / len(means)


def _settings(members: list[Outcome]) -> Iterator[dict[str, Any]]:
    """Combinations of all values that occur; when they are too many, those of single readings only."""
    values: dict[str, dict[Any, None]] = {}
    for outcome in members:
        for reading in outcome.readings:
            for name, value in reading.variant.setting.items():
                values.setdefault(name, {})[value] = None
    if math.prod(len(options) for options in values.values()) <= MOST_ASSIGNMENTS:
        for combination in itertools.product(*values.values()):
            yield dict(zip(values, combination, strict=True))
        return
    seen: dict[str, dict[str, Any]] = {}
    for outcome in members:
        for reading in outcome.readings:
            seen.setdefault(repr(reading.variant.setting), dict(reading.variant.setting))
    yield from itertools.islice(seen.values(), MOST_ASSIGNMENTS)


def _errors(members: list[Outcome], setting: Mapping[str, Any]) -> tuple[list[float], list[float], int]:
    """(errors of time, errors of memory, rows read) under one assignment."""
    times: list[float] = []
    sizes: list[float] = []
    rows = 0
    for outcome in members:
        place = _place(outcome, setting)
        if place is None:
            continue
        rows += 1
        if outcome.measured_s is not None:
            times.append(outcome.readings[place].step_time_s / outcome.measured_s - 1.0)
        sizes += [figure.by_setting[place] / figure.measured_bytes - 1.0 for figure in outcome.memory]
    return times, sizes, rows


def _place(outcome: Outcome, setting: Mapping[str, Any]) -> int | None:
    for index, reading in enumerate(outcome.readings):
        own = reading.variant.setting
        if all(name not in setting or setting[name] == value for name, value in own.items()):
            return index
    return None
