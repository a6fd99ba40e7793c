"""What is measured."""

from __future__ import annotations

from planner.calibration.measure.grid import COLLECTIVES, device_grid, group_sizes, network_grid
from planner.hardware.loader import load_cluster


def test_every_kind_of_kernel_is_measured_at_every_precision() -> None:
    kinds = {(point["precision"], point["kind"]) for point in device_grid(["fp32", "bf16"], "small")}
    every = ("matmul", "attention", "block", "norm", "activation", "add", "copy", "adamw")
    assert kinds == {(precision, kind) for precision in ("fp32", "bf16") for kind in every}


def test_eight_bit_precisions_have_matmuls_only_and_large_devices_large_ones() -> None:
    assert {point["kind"] for point in device_grid(["fp8"], "small")} == {"matmul"}
    small, large = (
        max(int(p["m"]) for p in device_grid(["fp8"], "small", large=flag)) for flag in (False, True)
    )
    assert small <= 512 < 8192 <= large


def test_a_full_budget_measures_more() -> None:
    assert len(list(device_grid(["fp32"], "full"))) > len(list(device_grid(["fp32"], "small")))


def test_groups_are_pairs_and_the_domains_of_the_levels() -> None:
    cluster = load_cluster("h100-superpod")
    assert group_sizes(cluster, 32) == (2, 8, 32)
    assert group_sizes(cluster, 4) == (2, 4)


def test_sizes_run_from_one_kib_and_messages_between_pairs_only() -> None:
    points = list(network_grid(load_cluster("cpu-loopback"), 2, "small"))
    assert {int(point["bytes"]) for point in points} == {4**power for power in range(5, 14)}
    assert {point["collective"] for point in points} == set(COLLECTIVES)
    wider = network_grid(load_cluster("h100-superpod"), 8, "full")
    assert {int(p["ranks"]) for p in wider if p["collective"] == "send_recv"} == {2}
