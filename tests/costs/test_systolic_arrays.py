"""Systolic arrays: sizes padded to whole arrays, heads that fill a part of one, tiles that two groups share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.kernels import attention_seconds, matmul_seconds
from planner.hardware.types import Accelerator, KernelConstants

KERNELS = KernelConstants(
    matmul_efficiency={"bf16": 1.0},
    matmul_k_half=0.0,
    matmul_mn_half=0.0,
    matmul_array=256.0,
    attention_forward={"splash": 0.5},
    attention_backward={"splash": 0.5},
    launch_s=0.0,
)
DEVICE = Accelerator(
    name="array",
    vendor="test",
    architecture="test",
    peak_flops={"bf16": 1e15},
    memory_bytes=80e9,
    memory_bandwidth=1e15,
    kernels=KERNELS,
)


def seconds(m: float, n: float, k: float) -> float:
    return float(matmul_seconds(np.array([m]), np.array([n]), np.array([k]), DEVICE, "bf16")[0])


@pytest.mark.parametrize(
    ("m", "n", "k", "padding"),
    [
        (4096, 4096, 4096, 1.0),
        (4096, 4096, 2880, 12 * 256 / 2880),  # 2880 are 11.25 arrays
        (4096, 2880, 4096, 1.0),  # the other side of the result is whole: it is held, this one streams
        (2880, 2880, 4096, 12 * 256 / 2880),
    ],
)
def test_contraction_and_one_side_of_the_result_are_padded(m: int, n: int, k: int, padding: float) -> None:
    assert seconds(m, n, k) == pytest.approx(2.0 * m * n * k / 1e15 * padding)


@pytest.mark.parametrize(
    ("array", "expected"), [(128, {64: 0.5, 128: 1.0, 256: 1.0}), (256, {64: 0.5, 256: 2.0})]
)
def test_heads_work_on_the_part_of_an_array_that_they_fill(array: int, expected: dict[int, float]) -> None:
    device = replace(DEVICE, kernels=replace(KERNELS, matmul_array=float(array)))

    def rate(width: float) -> float:
        flops = np.array([1e12])
        taken = attention_seconds(flops, flops, device, "bf16", "splash", backward=False, head_dim=width)
        return 1e12 / float(taken[0])

    for width, ratio in expected.items():
        assert rate(width) / rate(128) == pytest.approx(ratio)


def test_narrow_windows_cost_whole_blocks() -> None:
    """500 tokens per masked block beside a window of 128, where the whole square leaves room for them: no more than it."""
    flops = np.array([1e12])

    def taken(square: float) -> float:
        return float(
            attention_seconds(
                flops,
                flops,
                DEVICE,
                "bf16",
                "splash",
                backward=False,
                tokens=128.0,
                causal=True,
                square=square,
            )[0]
        )

    whole = 1e12 / 0.5e15
    assert taken(64.0) == pytest.approx(whole * (1 + 500 / 128))
    assert taken(1.0) == pytest.approx(whole * (1 + 190 / 128))
