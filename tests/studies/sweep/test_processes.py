"""Worker processes: same rows as without them, and a killed worker costs one row."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import closing

from planner.jobs.shelf import Shelf
from planner.studies.sweep.batches import Batches
from planner.studies.sweep.processes import run_processes
from planner.studies.sweep.rows import make_row
from tests.studies.sweep.samples import small_sweep


def without_time(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_a_killed_worker_is_a_row_with_its_reason_and_the_others_go_on() -> None:
    sweep = small_sweep({"seq_len": "64..1024:64", "layout.micro_batch": "1,5"})
    shelf = Shelf()
    expected = [without_time(dict(make_row(sweep.task, point, shelf))) for point in sweep.points]
    got: dict[int, dict[str, object]] = {}
    killed = 0
    with closing(run_processes(sweep.task, sweep.points, workers=1)) as answers:
        for number, row in answers:
            assert number not in got
            got[number] = without_time(dict(row))
            if number in (3, 9):
                (worker,) = multiprocessing.active_children()
                os.kill(worker.pid or 0, signal.SIGKILL)
                killed += 1
    assert killed == 2
    assert sorted(got) == list(range(len(expected)))
    fallen = {number: row for number, row in got.items() if row["status"] == "error"}
    assert 1 <= len(fallen) <= 2
    for number, row in fallen.items():
        assert row["message"] == (
            "the worker process was ended by SIGKILL (out of memory?) while it was at this point"
        )
        assert sweep.points[number].items() <= row.items()
    assert all(got[number] == expected[number] for number in got if number not in fallen)
    assert multiprocessing.active_children() == []


def test_portions_hand_out_each_point_once_and_grow_with_speed() -> None:
    points = [{"x": number} for number in range(1000)]
    batches = Batches(points, workers=4)
    sizes, seen = [], []
    while batches:
        portion = batches.next()
        sizes.append(len(portion))
        seen += [number for number, _ in portion]
        batches.took(0.01)
    assert seen == list(range(1000))
    assert sizes[0] == 1
    assert max(sizes) == 25  # a quarter of a second at 10 ms
    assert sizes[-1] == 1


def test_points_that_are_put_back_come_first_and_suspects_alone() -> None:
    batches = Batches([{"x": number} for number in range(4)], workers=1)
    batches.took(1e-6)
    first = batches.next() + batches.next()
    batches.put_back(first)
    assert [number for number, _ in batches.next()] == [0, 1]
    suspects = [(7, {"x": 7}), (8, {"x": 8})]
    batches.put_back(suspects, alone=True)
    assert batches.next() == suspects[:1]
    assert batches.next() == suspects[1:]
