"""Kernel times by hand arithmetic: roofline, small-size loss, ramp, attention pairs by counting."""

from __future__ import annotations

import numpy as np
import pytest

from planner.costs.kernels import (
    attention_seconds,
    matmul_seconds,
    memory_bound_seconds,
    optimizer_seconds,
    peak_flops,
)
from planner.costs.operators import contiguous_excess, visible_keys
from planner.errors import PlannerError
from planner.hardware.types import Accelerator, KernelConstants

KERNELS = KernelConstants(
    matmul_efficiency={"bf16": 0.8},
    matmul_k_half=100.0,
    matmul_mn_half=50.0,
    memory_efficiency=0.5,
    memory_ramp_bytes=1e6,
    attention_forward={"flash": 0.5, "cudnn": 0.6, "unfused": 0.4},
    attention_backward={"flash": 0.25, "cudnn": 0.3, "unfused": 0.2},
    launch_s=4e-6,
)
DEVICE = Accelerator(
    name="hand",
    vendor="test",
    architecture="test",
    peak_flops={"bf16": 1e15, "fp8": 2e15},
    memory_bytes=80e9,
    memory_bandwidth=2e12,
    kernels=KERNELS,
)


def one(value: float) -> np.ndarray:
    return np.array([value])


def test_large_matmul_runs_at_the_plateau() -> None:
    """2 m n k over 0.8 PFLOP/s, times what the sizes lose, plus the launch."""
    m, n, k = 8000.0, 4000.0, 10_000.0
    seconds = 2 * 8000 * 4000 * 10_000 / 0.8e15 * (1 + 100 / 10_000 + 50 / 4000) + 4e-6
    assert matmul_seconds(one(m), one(n), one(k), DEVICE, "bf16")[0] == pytest.approx(seconds)


def test_thin_matmul_is_bound_by_memory() -> None:
    """One row: the weight matrix of 4096 x 4096 16-bit numbers passes HBM at half of 2 TB/s."""
    seconds = (4096 + 4096 * 4096 + 4096) * 2 / 1e12 + 4e-6
    # 2 x 4096^2 FLOP at 0.8e15 x (1 + 100 / 4096 + 50 / 1) slow-down: 2.1 us, against 33.6 us of traffic.
    found = matmul_seconds(one(1.0), one(4096.0), one(4096.0), DEVICE, "bf16")[0]
    assert found == pytest.approx(seconds)


def test_empty_matmul_costs_nothing() -> None:
    assert matmul_seconds(one(0.0), one(0.0), one(64.0), DEVICE, "bf16")[0] == 0.0


def test_memory_bound_kernel() -> None:
    """Bytes over 1 TB/s; the ramp of 1 MB adds half its time, and never more than a launch."""
    assert memory_bound_seconds(one(1e9), DEVICE)[0] == pytest.approx(1e-3 + 0.5e-6)
    assert memory_bound_seconds(one(0.0), DEVICE)[0] == 0.0
    assert optimizer_seconds(one(2e9), DEVICE)[0] == pytest.approx(2e-3 + 0.5e-6)


def test_flash_attention() -> None:
    """Forward at half the peak; backward 2.5 x the FLOPs at a quarter; blocks of 1/10 lose a tenth."""
    forward = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "flash", backward=False, half=0.1)
    backward = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "flash", backward=True)
    assert forward[0] == pytest.approx(1e12 / 0.5e15 * 1.1 + 4e-6)
    assert backward[0] == pytest.approx(2.5e12 / 0.25e15 + 4e-6)


def test_unfused_attention_moves_the_scores() -> None:
    """16 bytes per score element forward (24 backward) over 1 TB/s, besides the matmuls; four launches' ramps."""
    forward = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "unfused", backward=False)
    backward = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "unfused", backward=True)
    assert forward[0] == pytest.approx(1e12 / 0.4e15 + 16e9 / 1e12 + 4 * 0.5e-6)
    assert backward[0] == pytest.approx(2e12 / 0.2e15 + 24e9 / 1e12 + 4 * 0.5e-6)


def test_missing_rate_names_what_there_is() -> None:
    assert peak_flops(DEVICE, "mxfp8") == 2e15
    with pytest.raises(PlannerError, match="hand has no fp16 rate; it has bf16, fp8"):
        peak_flops(DEVICE, "fp16")


def pairs(keys: int, causal: bool, window: int | None) -> int:
    """Visible (query, key) pairs, counted one by one. A causal window of w: the token and the w - 1 before it."""
    return sum(
        1
        for query in range(keys)
        for key in range(keys)
        if (not causal or key <= query)
        and (window is None or (query - key < window if causal else abs(query - key) <= window))
    )


@pytest.mark.parametrize("keys", [64, 256])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("share", [None, 1 / 16, 1 / 4, 1 / 2, 3 / 4])
def test_visible_keys_count_the_pairs(keys: int, causal: bool, share: float | None) -> None:
    """The mean over queries, but for the diagonal, of which kernels skip half: one key per query at most."""
    window = None if share is None else int(share * keys)
    expected = pairs(keys, causal, window) / keys
    assert visible_keys(float(keys), causal, None if window is None else float(window)) == pytest.approx(
        expected, abs=1.0
    )


def test_window_as_long_as_the_sequence_changes_nothing() -> None:
    for causal in (True, False):
        assert visible_keys(512.0, causal, 512.0) == visible_keys(512.0, causal, None)


@pytest.mark.parametrize("ring", [1, 2, 4, 8])
def test_busiest_rank_of_a_contiguous_ring(ring: int) -> None:
    """Block pairs of the last of c ranks over the mean: c - 1 whole ones and half of its own, of c^2 / 2 in all."""
    excess = (ring - 0.5) / (ring * ring / 2 / ring)
    assert contiguous_excess(one(float(ring)))[0] == pytest.approx(excess)
