"""Points measured by several processes at the same time: windows start together, and one rank writes what all took."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from planner.calibration.measure.grid import Point
from planner.calibration.measure.record import Record
from planner.calibration.measure.repeats import enough, summarise
from planner.calibration.measure.windows import warm_up, window
from planner.validation.processes.worker import Place

WINDOW_S, SHARED_WINDOW_S = 0.02, 0.06
"""Length of a window; longer than some turns of the scheduler where processes take turns on a core."""

CallOf = Callable[[Point], Callable[[], Any] | None]
"""What a rank does for a point; None: it takes no part and waits."""


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
        call = call_of(point)
        if call is not None:
            warm_up(call, place.device)
        calls = _calls(call, length, place) if together else None
        windows: list[float] = []
        while not enough(windows, length):
            _meet(place)
            taken = 0.0 if call is None else window(call, length, place.device, calls)
            windows.append(_mean(taken, place))
        if record is not None:
            record.add(point, summarise(windows))
            print(json.dumps([(index + 1) / len(points), " ".join(map(str, point.values()))]))  # noqa: T201


def _calls(call: Callable[[], Any] | None, length: float, place: Place) -> int:
    """Calls of a window, the same on every rank."""
    _meet(place)
    once = _mean(0.0 if call is None else window(call, length, place.device, 2), place)
    return max(round(length / once), 1)


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
    """Mean over the ranks that took part."""
    if place.world_size == 1:
        return taken
    sums = torch.tensor([taken, float(taken > 0.0)], dtype=torch.float64)
    sums = sums.to(place.device)
    distributed.all_reduce(sums)
    return float(sums[0] / sums[1])
