"""The file of measurements survives kills and refuses other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.calibration.measure.record import open_record, read_record
from planner.calibration.measure.repeats import Summary
from planner.errors import PlannerError

MACHINE = {"device": "a core", "torch": "2.13.0"}
POINTS = [{"kind": "matmul", "precision": "fp32", "m": size, "n": 8, "k": 8} for size in (8, 16, 32)]
STEADY = Summary(2e-6, 0.01, 5, 0.0)


def test_points_are_on_the_disk_one_by_one_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "my.device.yaml"
    record = open_record(path, "kernels", MACHINE, {})
    for count, point in enumerate(POINTS, 1):
        record.add(point, STEADY)
        assert len(read_record(path, "kernels")[1]) == count
    machine, points = read_record(path, "kernels")
    assert dict(machine) == MACHINE
    assert points[1] == {**POINTS[1], "time_us": 2.0, "spread": 0.01, "windows": 5, "noisy": False}


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_torn_line_costs_its_point_alone(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "my.device.yaml"
    record = open_record(path, "kernels", MACHINE, {})
    for point in POINTS:
        record.add(point, STEADY)
    path.write_bytes(path.read_bytes()[:-lost])
    again = open_record(path, "kernels", MACHINE, {})
    assert [again.holds(point) for point in POINTS] == [True, True, False]
    again.add(POINTS[2], STEADY)
    assert len(read_record(path, "kernels")[1]) == 3


def test_a_head_without_points_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "my.device.yaml"
    open_record(path, "kernels", MACHINE, {})
    assert open_record(path, "kernels", MACHINE, {}).done == set()
    with pytest.raises(PlannerError, match="no measured point"):
        read_record(path, "kernels")


def test_another_machine_or_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.device.yaml"
    open_record(path, "kernels", MACHINE, {}).add(POINTS[0], STEADY)
    with pytest.raises(PlannerError, match=r"machine.torch: was measured with torch 2.13.0, this is 2.14.0"):
        open_record(path, "kernels", {**MACHINE, "torch": "2.14.0"}, {})
    with pytest.raises(PlannerError, match="holds no list 'points'"):
        open_record(path, "points", MACHINE, {})
    other = tmp_path / "other.yaml"
    other.write_text("a: 1\n")
    with pytest.raises(PlannerError, match="is no file of measurements"):
        read_record(other, "kernels")
