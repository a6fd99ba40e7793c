"""What blocks teach about framework profiles, and points whose call does something besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.calibration.fit.constants import Key
from planner.calibration.measure import lockstep
from planner.calibration.measure.constants import of_profiles
from planner.calibration.measure.lockstep import Measured, measure_points
from planner.calibration.measure.record import open_record, read_record
from planner.calibration.measure.shapes import block_job
from planner.jobs.framework import FRAMEWORKS, load_framework
from planner.validation.processes.worker import Place

POINT = {"kind": "block", "precision": "fp32", "hidden": 64, "batch": 1, "sequence": 32}


def test_profiles_built_alike_share_what_their_block_measured() -> None:
    values = {
        Key("framework", "fsdp", "host_factor"): 2.0,
        Key("framework", "fsdp", "elementwise_factor"): 1.5,
        Key("framework", "megatron-core", "host_factor"): 3.0,
        Key("framework", "megatron-core", "elementwise_factor"): 4.0,
    }
    profiles = {name: load_framework(name) for name in FRAMEWORKS}
    found = {key: value for key, _, value in of_profiles(values, profiles)}
    assert found[Key("framework", "torchtitan", "elementwise_factor")] == 1.5
    assert found[Key("framework", "deepspeed", "elementwise_factor")] == 4.0
    for name, block, factor in (("torchtitan", "fsdp", 2.0), ("deepspeed", "megatron-core", 3.0)):
        measured = factor * load_framework(block).host.forward_operator_s
        stated = load_framework(name).host.forward_operator_s
        assert found[Key("framework", name, "host_factor")] * stated == pytest.approx(measured)
    assert Key("framework", "ideal", "host_factor") not in found  # which states no host work


def test_a_block_without_a_profile_is_of_plain_modules() -> None:
    assert block_job(POINT, "cpu-loopback").framework.name == "fsdp"
    assert (
        block_job({**POINT, "framework": "megatron-core"}, "cpu-loopback").framework.name == "megatron-core"
    )


def test_time_of_what_a_call_does_besides_is_taken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def besides() -> None:
        """Ten milliseconds of the thirty of a call."""

    def call() -> None:
        besides()

    seconds = {call: 0.03, besides: 0.01}
    monkeypatch.setattr(lockstep, "window", lambda made, *how: seconds[made])
    record = open_record(tmp_path / "my.network.yaml", "points", {"host": "here"}, {})
    points = [{"collective": "all_reduce", "ranks": 2, "bytes": 1024}]
    place = Place(0, 1, "cpu")
    measure_points(points, lambda point: Measured(call, besides), place, record, shared=False)
    (point,) = read_record(record.path, "points")[1]
    assert point["time_us"] == pytest.approx(20_000.0)
