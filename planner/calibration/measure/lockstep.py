"""Points measured by several processes at the same time: windows start together, and one rank writes what all took."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import distributed

from planner.calibration.measure.grid import Point
from planner.calibration.measure.record import Record
from planner.calibration.measure.repeats import STEADY, enough, summarise
from planner.calibration.measure.windows import warm_up, window
from planner.validation.processes.worker import Place

WINDOW_S, SHARED_WINDOW_S = 0.02, 0.06
"""Length of a window; longer than some turns of the scheduler where processes take turns on a core."""

BASE_WINDOWS = 3
"""Windows of what a call does besides."""

Call = Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """What a rank does for a point.

    Args:
        call: timed.
        besides: the part of it that does not count; its own time is taken off, down to what a steady point may scatter by.
            None: all of it counts.
    """

    call: Call
    besides: Call | None = None


CallOf = Callable[[Point], Measured]


def measure_points(
    points: Sequence[Point],
    call_of: CallOf,
    place: Place,
    record: Record | None,
    *,
    shared: bool,
    together: bool = False,
) -> None:
    """Measure points one after the other; the record's rank prints the progress.

    Args:
        record: on rank 0, else None.
        shared: processes take turns on the cores.
        together: a call needs all ranks of its group, so all make the same number of them.
    """
    length = SHARED_WINDOW_S if shared else WINDOW_S
    for index, point in enumerate(points):
        made = call_of(point)
        warm_up(made.call, place.device)
        calls = _calls(made.call, length, place) if together else None
        base = _base(made.besides, length, place)
        windows: list[float] = []
        while not enough(windows, length):
            _meet(place)
            taken = _mean(window(made.call, length, place.device, calls), place)
            windows.append(max(taken - base, STEADY * base))
        if record is not None:
            record.add(point, summarise(windows))
            print(json.dumps([(index + 1) / len(points), " ".join(map(str, point.values()))]))  # noqa: T201


def _calls(call: Call, length: float, place: Place) -> int:
    """Calls of a window, the same on every rank."""
    _meet(place)
    once = _mean(window(call, length, place.device, 2), place)
    return max(round(length / once), 1)


def _base(besides: Call | None, length: float, place: Place) -> float:
    """Seconds of what a call does besides, with all ranks busy with it."""
    if besides is None:
        return 0.0
    taken = []
    for _ in range(BASE_WINDOWS):
        _meet(place)
        taken.append(_mean(window(besides, length, place.device), place))
    return median(taken)


def remaining(points: Sequence[Point], record: Record | None, place: Place) -> list[Point]:
    """Points that the record does not hold, the same on every rank."""
    left = [[point for point in points if record is not None and not record.holds(point)]]
    if place.world_size > 1:
        distributed.broadcast_object_list(left, src=0)
    return left[0]


def read_request(arguments: Sequence[str]) -> dict[str, Any]:
    """What the starting process wants, from the file that it names."""
    return dict(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))


def _meet(place: Place) -> None:
    if place.world_size > 1:
        distributed.barrier()


def _mean(taken: float, place: Place) -> float:
    """Mean over the ranks."""
    if place.world_size == 1:
        return taken
    total = torch.tensor(taken, dtype=torch.float64).to(place.device)
    distributed.all_reduce(total)
    return float(total) / place.world_size
