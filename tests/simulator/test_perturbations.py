"""Perturbations: what the command line states, bad input, and the statistics of spread and jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.errors import PlannerError
from planner.hardware.loader import load_cluster, use_devices
from planner.simulator.perturbations import (
    Perturbations,
    device_speeds,
    link_factors,
    parse_perturbations,
    pass_jitter,
)

CLUSTER = use_devices(load_cluster("h100-superpod"), 32)


def parsed(**options: Any) -> Perturbations:
    return parse_perturbations(CLUSTER, 32, **options)


def test_slow_devices_and_ranges() -> None:
    found = parsed(slow_devices=["17=0.8", " 2 - 4 = 50%"])
    assert found.slow_devices == {17: 0.8, 2: 0.5, 3: 0.5, 4: 0.5}
    speeds = device_speeds(found, 32)
    assert speeds[[17, 2, 3, 4]].tolist() == [0.8, 0.5, 0.5, 0.5]
    assert np.delete(speeds, [17, 2, 3, 4]).tolist() == [1.0] * 28


def test_slow_links_by_level_and_to_the_host() -> None:
    found = parsed(slow_links=["17:infiniband=0.5", "0-1:nvlink=25%", "3:host=0.1"])
    factors = link_factors(found, CLUSTER, 32)
    assert factors.shape == (32, 3)
    assert factors[[17, 0, 1, 3]].tolist() == [[1, 0.5, 1], [0.25, 1, 1], [0.25, 1, 1], [1, 1, 0.1]]
    assert np.delete(factors, [17, 0, 1, 3], axis=0).tolist() == [[1.0, 1.0, 1.0]] * 28


def test_nothing_stated_changes_nothing() -> None:
    nothing = parsed()
    assert nothing == Perturbations()
    assert device_speeds(nothing, 32).tolist() == [1.0] * 32
    assert link_factors(nothing, CLUSTER, 32).tolist() == [[1.0] * 3] * 32
    assert pass_jitter(nothing, (2, 3)).tolist() == [[1.0] * 3] * 2


def test_spreads_in_percent_or_plain() -> None:
    assert parsed(speed_spread="2%", jitter=0.01, seed=3) == Perturbations(
        speed_spread=0.02, jitter=0.01, seed=3
    )


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_speeds_are_log_normal_around_one(spread: float) -> None:
    """Mean 1 and the stated deviation, within five standard errors of 200,000 draws; logarithms are symmetric."""
    speeds = device_speeds(Perturbations(speed_spread=spread, seed=1), 200_000)
    error = 5 / np.sqrt(200_000)
    assert speeds.mean() == pytest.approx(1.0, abs=error * spread)
    assert speeds.std() == pytest.approx(spread, rel=2 * error)
    logs = np.log(speeds)
    assert np.mean((logs - logs.mean()) ** 3) / logs.std() ** 3 == pytest.approx(0.0, abs=error * np.sqrt(6))


def test_jitter_keeps_the_mean_and_is_independent() -> None:
    draws = pass_jitter(Perturbations(jitter=0.1, seed=2), (400, 500))
    assert draws.mean() == pytest.approx(1.0, abs=5 * 0.1 / np.sqrt(draws.size))
    assert draws.std() == pytest.approx(0.1, rel=0.02)
    neighbours = np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]
    assert neighbours == pytest.approx(0.0, abs=5 / np.sqrt(draws.size))


def test_same_seed_same_draws() -> None:
    one, other = (
        Perturbations(speed_spread=0.1, jitter=0.1, seed=5),
        Perturbations(speed_spread=0.1, jitter=0.1, seed=6),
    )
    assert device_speeds(one, 8).tolist() == device_speeds(one, 16)[:8].tolist()
    assert pass_jitter(one, (4, 8)).tolist() == pass_jitter(one, (4, 8)).tolist()
    assert device_speeds(one, 8).tolist() != device_speeds(other, 8).tolist()
    assert pass_jitter(one, (4, 8)).tolist() != pass_jitter(other, (4, 8)).tolist()
    assert device_speeds(one, 8).tolist() != pass_jitter(one, (8,)).tolist()


def test_a_slow_device_is_slow_beside_the_spread() -> None:
    spread = device_speeds(Perturbations(speed_spread=0.05), 8)
    both = device_speeds(Perturbations(speed_spread=0.05, slow_devices={3: 0.5}), 8)
    assert both[3] == pytest.approx(0.5 * spread[3])
    assert np.delete(both, 3).tolist() == np.delete(spread, 3).tolist()


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"slow_devices": ["32=0.8"]}, "slow_device", "found device 32; the job has 32 devices, 0 to 31"),
        ({"slow_devices": ["30-99=0.8"]}, "slow_device", "found device 99"),
        ({"slow_devices": ["9-3=0.8"]}, "slow_device", "runs backwards"),
        ({"slow_devices": ["-3=0.8"]}, "slow_device", "accepted: a device such as 17"),
        ({"slow_devices": ["17"]}, "slow_device", "accepted: 17=0.8 or 16-23=0.8"),
        ({"slow_devices": ["=0.8"]}, "slow_device", "accepted: 17=0.8"),
        ({"slow_devices": ["a=0.8"]}, "slow_device", "accepted: a device such as 17"),
        ({"slow_devices": ["17=0"]}, "slow_device", "above 0 and at most 1"),
        ({"slow_devices": ["17=1.5"]}, "slow_device", "above 0 and at most 1"),
        ({"slow_devices": ["17=-0.5"]}, "slow_device", "cannot be negative"),
        ({"slow_devices": ["17=nan"]}, "slow_device", "not 'number unit'"),
        ({"slow_devices": ["17=0.8", "16-23=0.9"]}, "slow_device", "device 17 is named twice"),
        ({"slow_links": ["17:infinband=0.5"]}, "slow_link", "did you mean 'infiniband'?"),
        ({"slow_links": ["17:tokenring=0.5"]}, "slow_link", "accepted: host, infiniband, nvlink"),
        ({"slow_links": ["17=0.5"]}, "slow_link", "accepted: 17:infiniband=0.5"),
        ({"slow_links": ["17:nvlink"]}, "slow_link", "accepted: 17:infiniband=0.5"),
        ({"slow_links": ["77:nvlink=0.5"]}, "slow_link", "found device 77"),
        ({"slow_links": ["1:nvlink=2"]}, "slow_link", "at most 1"),
        (
            {"slow_links": ["1:nvlink=0.5", "0-2:nvlink=0.5"]},
            "slow_link",
            "nvlink of device 1 is named twice",
        ),
        ({"speed_spread": "-1%"}, "speed_spread", "cannot be negative"),
        ({"speed_spread": float("nan")}, "speed_spread", "not a finite number"),
        ({"jitter": "2"}, "jitter", "accepted: 0 to 1"),
        ({"jitter": "1 s"}, "jitter", "does not measure"),
        ({"seed": -1}, "seed", "accepted: a whole number from 0"),
    ],
)
def test_bad_input(options: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(PlannerError) as caught:
        parsed(**options)
    assert caught.value.field == field
    assert message in caught.value.message


def test_perturbations_made_in_code_are_checked_too() -> None:
    with pytest.raises(PlannerError, match="found device 8"):
        device_speeds(Perturbations(slow_devices={8: 0.5}), 8)
    with pytest.raises(PlannerError, match="found 0; accepted"):
        device_speeds(Perturbations(slow_devices={1: 0.0}), 8)
    with pytest.raises(PlannerError, match="has no level 'nvlnk'"):
        link_factors(Perturbations(slow_links={(1, "nvlnk"): 0.5}), CLUSTER, 8)
    with pytest.raises(PlannerError, match="found nan"):
        link_factors(Perturbations(slow_links={(1, "nvlink"): float("nan")}), CLUSTER, 8)
