"""Fits find the constants that synthetic measurements were made with, by formulas written out here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.calibration.fit.kinds import data_of
from planner.calibration.fit.writing import merge_calibration
from planner.calibration.measure.fit_device import fit_device
from planner.calibration.measure.fit_network import fit_network
from planner.calibration.measure.grid import Point
from planner.calibration.measure.machine import this_machine
from planner.calibration.measure.record import open_record
from planner.calibration.measure.repeats import Summary
from planner.errors import PlannerError
from planner.hardware.calibration import calibrated_level
from planner.hardware.loader import load_cluster
from planner.jobs.framework import calibrated_framework, load_framework

MACHINE = {"accelerator": "cpu", "device": "a core", "host": "here", "processes": "2"}
PEAK, BANDWIDTH = 192e9, 40e9
"""Of the catalogue's cpu."""


def device_record(path: Path, plateau: float, streamed: float) -> Path:
    """Matmuls at a plateau without losses at small sizes, copies and updates at a share of the bandwidth."""
    record = open_record(path, "kernels", MACHINE, {})
    for m, n, k in ((256, 256, 256), (512, 512, 512), (1024, 512, 256), (1024, 1024, 1024)):
        seconds = 2.0 * m * n * k / (plateau * PEAK)
        point: Point = {"kind": "matmul", "precision": "fp32", "m": m, "n": n, "k": k}
        record.add(point, Summary(seconds, 0.01, 5, 0.0))
    for elements in (2**16, 2**18, 2**20):
        record.add(
            {"kind": "adamw", "precision": "fp32", "elements": elements},
            Summary(30.0 * elements / (streamed * BANDWIDTH), 0.01, 5, 0.0),
        )
        record.add(
            {"kind": "add", "precision": "fp32", "elements": elements},
            Summary(12.0 * elements / (2.0 * BANDWIDTH), 0.01, 5, 0.0),
        )
    return path


def network_record(path: Path) -> Path:
    """Collectives of two ranks that start in 300 us and move half of the buffer at 1.2 GB/s."""
    cluster = {"cluster": json.dumps(this_machine(2))}
    record = open_record(path, "points", {"host": "here", "backend": "gloo"}, cluster)
    for power in range(10, 27, 2):
        seconds = 300e-6 + 2**power / 2 / 1.2e9
        point = {"collective": "all_gather", "ranks": 2, "bytes": 2**power}
        record.add(point, Summary(seconds, 0.01, 5, 0.0))
    return path


def test_a_fit_finds_plateau_and_bandwidth(tmp_path: Path) -> None:
    found = fit_device(device_record(tmp_path / "my.device.yaml", 0.6, 0.25))
    constants = found.calibration.accelerators["cpu"].constants
    assert constants["matmul_efficiency.fp32"].value == pytest.approx(0.6, rel=0.08)
    assert constants["memory_efficiency"].value == pytest.approx(0.25, rel=0.03)
    assert constants["eager.add"].value == pytest.approx(2.0, rel=0.03)
    assert max(abs(residual.error) for residual in found.residuals) < 0.08
    assert "host here" in found.calibration.provenance["device"]


def test_blocks_teach_every_profile_built_alike(tmp_path: Path) -> None:
    path = device_record(tmp_path / "my.device.yaml", 0.6, 0.25)
    record = open_record(path, "kernels", MACHINE, {})
    for hidden in (64, 128, 256):
        point: Point = {"kind": "block", "precision": "fp32", "hidden": hidden, "batch": 1, "sequence": 32}
        record.add(point, Summary(hidden * 1e-5, 0.01, 5, 0.0))
    found = fit_device(path).calibration.frameworks
    assert set(found) == {"fsdp", "torchtitan", "composer-fsdp"}
    assert {name for scope in found.values() for name in scope.constants} == {
        "elementwise_factor",
        "host_factor",
    }


def test_a_fit_finds_start_and_rate_of_a_network(tmp_path: Path) -> None:
    found = fit_network(network_record(tmp_path / "my.network.yaml"))
    assert max(abs(residual.error) for residual in found.residuals) < 0.15
    level = calibrated_level(load_cluster(this_machine(2)).network[0], found.calibration)[0].of("all_gather")
    assert level.bandwidth * level.efficiency == pytest.approx(1.2e9, rel=0.1)
    assert (level.start_s or 0.0) + level.latency_s == pytest.approx(300e-6, rel=0.15)


def test_device_and_network_share_a_file_that_a_cluster_names(tmp_path: Path) -> None:
    device = fit_device(device_record(tmp_path / "my.device.yaml", 0.6, 0.25)).calibration
    network = fit_network(network_record(tmp_path / "my.network.yaml")).calibration
    target = tmp_path / "my.yaml"
    merge_calibration(target, device)
    whole = merge_calibration(target, network)
    assert (whole.data, whole.rows) == ("machine", device.rows + network.rows)
    assert set(whole.provenance) == {"device", "network"}
    cluster = load_cluster(this_machine(2, target))
    plateau = device.accelerators["cpu"].constants["matmul_efficiency.fp32"].value
    assert cluster.accelerator.kernels.matmul_efficiency["fp32"] == plateau
    rate = network.networks["loopback"].constants["efficiency.all_gather"].value
    assert cluster.network[0].of("all_gather").efficiency == rate
    assert cluster.network[0].of("all_reduce").efficiency == cluster.network[0].efficiency
    again = merge_calibration(target, fit_device(device_record(tmp_path / "b.yaml", 0.3, 0.25)).calibration)
    assert again.accelerators["cpu"].constants["matmul_efficiency.fp32"].value < 0.7 * plateau
    assert again.networks == whole.networks
    assert calibrated_framework(load_framework("fsdp"), str(target)).hidden.dp_reduce > 0.0


def test_a_calibration_of_published_data_is_not_overwritten(tmp_path: Path) -> None:
    device = fit_device(device_record(tmp_path / "my.device.yaml", 0.6, 0.25)).calibration
    target = tmp_path / "published.yaml"
    merge_calibration(target, device.model_copy(update={"data": "runs"}))
    with pytest.raises(PlannerError, match="holds a calibration of runs"):
        merge_calibration(target, device)


def test_measurements_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    assert data_of([device_record(tmp_path / "a.yaml", 0.6, 0.25)]) == "device"
    assert data_of([network_record(tmp_path / "b.yaml")]) == "network"
