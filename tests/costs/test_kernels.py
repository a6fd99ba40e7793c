"""Kernel times by hand arithmetic: roofline, ramp, floors, attention pairs by counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.attention_core import contiguous_excess, visible_keys
from planner.costs.kernels import (
    attention_seconds,
    matmul_seconds,
    memory_bound_seconds,
    optimizer_seconds,
    peak_flops,
)
from planner.errors import PlannerError
from planner.hardware.calibration import kernels_alone
from planner.hardware.types import Accelerator, AttentionKernel, KernelConstants

KERNELS = KernelConstants(
    matmul_efficiency={"bf16": 0.8},
    matmul_k_half=100.0,
    matmul_mn_half=50.0,
    memory_efficiency=0.5,
    eager={"norm": 0.25, "activation": 0.4, "add": 0.5},
    attention_forward={"flash2": 0.5, "cudnn": 0.6, "unfused": 0.4},
    attention_backward={"flash2": 0.25, "cudnn": 0.3, "unfused": 0.2},
    attention_kernels={
        "flash2": AttentionKernel(causal_half=500.0, full_half=200.0, width_64=0.8, width_256=1.1),
        "unfused": AttentionKernel(causal_half=0.0, full_half=0.0),
    },
    alone={"matmul": 0.9, "flash2": 0.6},
    launch_s=4e-6,
    floor_s=3e-6,
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


def test_gradients_that_are_added_to_fp32_are_read_and_written() -> None:
    """Bound by memory: 8 bytes for each of 4096 x 4096 results instead of 2."""
    sizes = (one(4096.0), one(4096.0), one(1.0))
    extra = matmul_seconds(*sizes, DEVICE, "bf16", result_bytes=8.0) - matmul_seconds(*sizes, DEVICE, "bf16")
    assert extra[0] == pytest.approx(6 * 4096 * 4096 / 1e12)


def test_empty_matmul_costs_nothing() -> None:
    for units in (None, 100):
        device = replace(DEVICE, compute_units=units)
        assert matmul_seconds(one(0.0), one(0.0), one(64.0), device, "bf16")[0] == 0.0


def test_memory_bound_kernel() -> None:
    """Bytes over 1 TB/s, but never below the 3 us of the shortest kernel; nothing to move is no kernel."""
    assert memory_bound_seconds(one(1e9), DEVICE)[0] == pytest.approx(1e-3)
    assert memory_bound_seconds(one(1e3), DEVICE)[0] == 3e-6
    assert memory_bound_seconds(one(1e3), DEVICE, launches=4.0)[0] == 12e-6
    assert memory_bound_seconds(one(0.0), DEVICE)[0] == 0.0
    assert optimizer_seconds(one(2e9), DEVICE)[0] == pytest.approx(2e-3)


def test_eager_operators_have_efficiencies_of_their_own() -> None:
    """A norm at a quarter of 2 TB/s, in two kernels."""
    assert memory_bound_seconds(one(1e9), DEVICE, operator="norm")[0] == pytest.approx(2e-3)
    assert memory_bound_seconds(one(1e9), DEVICE, operator="activation")[0] == pytest.approx(1.25e-3)
    assert memory_bound_seconds(one(1e3), DEVICE, operator="norm")[0] == 6e-6


def test_fused_attention() -> None:
    """Forward at half the peak; backward 2.5 x the FLOPs at a quarter; blocks of 5000 tokens lose a tenth when causal."""
    forward = attention_seconds(
        one(1e12), one(1e9), DEVICE, "bf16", "flash2", backward=False, tokens=one(5000.0), causal=True
    )
    backward = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "flash2", backward=True)
    assert forward[0] == pytest.approx(1e12 / 0.5e15 * 1.1 + 4e-6)
    assert backward[0] == pytest.approx(2.5e12 / 0.25e15 + 4e-6)


@pytest.mark.parametrize(
    ("width", "factor"), [(32.0, 0.8), (64.0, 0.8), (96.0, 0.9), (128.0, 1.0), (192.0, 1.05), (512.0, 1.1)]
)
def test_narrow_heads_run_slower(width: float, factor: float) -> None:
    """Measured at 64, 128 and 256; straight lines between."""
    found = attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "flash2", backward=False, head_dim=width)
    assert found[0] == pytest.approx(1e12 / (0.5e15 * factor) + 4e-6)


@pytest.mark.parametrize(("dropout", "forward", "backward"), [(False, 8e9, 14e9), (True, 13e9, 19e9)])
def test_unfused_attention_moves_the_scores(dropout: bool, forward: float, backward: float) -> None:
    """8 bytes per score element forward, 14 backward (2 + 2 + 1 more with dropout) over 1 TB/s, besides the matmuls."""
    passes = [
        attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "unfused", backward=part, dropout=dropout)[0]
        for part in (False, True)
    ]
    assert passes[0] == pytest.approx(1e12 / 0.4e15 + forward / 1e12)
    assert passes[1] == pytest.approx(2e12 / 0.2e15 + backward / 1e12)


def test_positions_that_bias_the_scores_pass_over_them_once_more_in_forward() -> None:
    """4 bytes a score over 1 TB/s and one launch: the bias is copied into the result and read again by the matmul."""
    for part, extra in ((False, 4.0), (True, 0.0)):
        plain, biased = (
            attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "unfused", backward=part, biased=added)[0]
            for added in (False, True)
        )
        assert biased - plain == pytest.approx(extra * 1e9 / 1e12, abs=5e-6)
    fused = [
        attention_seconds(one(1e12), one(1e9), DEVICE, "bf16", "flash2", backward=False, biased=added)[0]
        for added in (False, True)
    ]
    assert fused[0] == fused[1]


def test_softmax_in_kernels_of_its_own_passes_over_the_scores_in_fp32() -> None:
    """Forward 6 + 8 + 8 + 8 + 6 bytes a score instead of 4, backward 6 + 12 + 8 + 8 + 6 instead of 6, over 1 TB/s."""
    for part, extra in ((False, 36 - 4), (True, 40 - 6)):
        whole, eager = (
            attention_seconds(
                one(1e12), one(1e9), DEVICE, "bf16", "unfused", backward=part, fused_softmax=fused
            )[0]
            for fused in (True, False)
        )
        assert eager - whole == pytest.approx(extra * 1e9 / 1e12)


def test_kernels_alone_run_at_rates_of_their_own() -> None:
    """The plateau of 0.9 and a forward rate of 0.6; the backward rate keeps its ratio to the forward one."""
    alone = kernels_alone(DEVICE).kernels
    assert alone.matmul_efficiency["bf16"] == pytest.approx(0.9)
    assert alone.attention_forward["flash2"] == pytest.approx(0.6)
    assert alone.attention_backward["flash2"] == pytest.approx(0.3)
    assert alone.attention_forward["cudnn"] == 0.6


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
