"""One of the ranks that measure a network: every collective over every group, all groups of a size at the same time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from planner.calibration.measure.grid import Point, group_sizes, network_grid
from planner.calibration.measure.lockstep import Measured, measure_points, read_request, remaining
from planner.calibration.measure.machine import cores, surroundings
from planner.calibration.measure.record import open_record
from planner.errors import PlannerError
from planner.hardware.loader import load_cluster
from planner.validation.processes.worker import Place, joined, run_worker

SHARED_TURNS = 8
"""Products before a call where processes share cores: together longer than a turn of the scheduler."""


def main(arguments: list[str]) -> None:
    """Measure what the request file says.

    Raises:
        PlannerError: as many ranks as the cluster has devices are needed; the record is of another machine.
    """
    request = read_request(arguments)
    cluster = load_cluster(request["cluster"], calibrated=False)
    device = "cuda" if request["backend"] == "nccl" else "cpu"
    with joined(cluster.devices, device) as place:
        machine = {"backend": request["backend"]} | surroundings(device, place.world_size)
        record = None
        if place.rank == 0:
            described = json.dumps(request["cluster"])
            record = open_record(Path(request["record"]), "points", machine, {"cluster": described})
        groups = {size: _groups(size, place) for size in group_sizes(cluster, place.world_size)}
        shared = device == "cpu" and place.world_size > cores()
        points = remaining(list(network_grid(cluster, place.world_size, request["budget"])), record, place)
        measure_points(
            points,
            lambda point: measured(point, groups, place, SHARED_TURNS if shared else 1),
            place,
            record,
            shared=shared,
            together=True,
        )


def _groups(size: int, place: Place) -> ProcessGroup:
    """This rank's group of neighbouring ranks; every rank makes all of them."""
    mine: ProcessGroup | None = None
    for first in range(0, place.world_size, size):
        made = distributed.new_group(list(range(first, first + size)))
        if first <= place.rank < first + size:
            mine = made
    if mine is None:
        raise PlannerError(f"{place.world_size} ranks do not fill groups of {size}")
    return mine


def measured(point: Point, groups: Mapping[int, ProcessGroup], place: Place, turns: int) -> Measured:
    """A collective in its rank's group; bytes are the larger of input and output, as nccl-tests counts them.

    On cores, where gloo competes with what computes, each call follows a computation that fills a fresh message, as in a step:
    ranks arrive when they can, buffers are cold, and a rank that a message wakes waits for its core.

    Args:
        turns: products before each call on a core, so many that processes on one core take turns meanwhile.
    """
    size, group = int(point["ranks"]), groups[int(point["ranks"])]
    elements = max(int(point["bytes"]) // 4 // size, 1)
    whole = torch.ones(elements * size, device=place.device)
    part = torch.ones(elements, device=place.device)
    send = whole if point["collective"] != "all_gather" else part
    move = _move(str(point["collective"]), size, group, place)
    if place.device != "cpu":
        return Measured(lambda: move(send))
    left, right = torch.ones(128, 512), torch.ones(512, 512)

    def besides() -> Tensor:
        for _ in range(turns):
            torch.mm(left, right)
        return send.clone()

    return Measured(lambda: move(besides()), besides)


def _move(collective: str, size: int, group: ProcessGroup, place: Place) -> Callable[[Tensor], Any]:
    """One call with what a rank sends; outputs are new, as in a step."""
    if collective == "all_reduce":
        return lambda x: distributed.all_reduce(x, group=group)
    if collective == "all_gather":
        return lambda x: distributed.all_gather_into_tensor(x.new_empty(size * len(x)), x, group=group)
    if collective == "reduce_scatter":
        return lambda x: distributed.reduce_scatter_tensor(x.new_empty(len(x) // size), x, group=group)
    if collective == "all_to_all":
        return lambda x: distributed.all_to_all_single(torch.empty_like(x), x, group=group)
    return _exchange(place)


def _exchange(place: Place) -> Callable[[Tensor], Any]:
    """One message from a rank of a pair to the other, in turns."""
    other, turns = place.rank ^ 1, itertools.cycle((place.rank % 2 == 0, place.rank % 2 == 1))

    def message_in_turn(message: Tensor) -> None:
        if next(turns):
            distributed.send(message, other)
        else:
            distributed.recv(message, other)

    return message_in_turn


if __name__ == "__main__":
    run_worker(main)
