"""The tile model of matmuls by hand arithmetic: waves, splits, narrow tiles, strides, groups, precisions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.kernels import matmul_seconds
from planner.hardware.types import Accelerator, KernelConstants

PLAIN = KernelConstants(
    matmul_efficiency={"bf16": 0.8, "fp8": 0.8},
    matmul_tile_k=0.0,
    matmul_tile_edge=0.0,
    matmul_wave=1.0,
    matmul_stride=0.0,
    matmul_traffic=1.0,
    launch_s=4e-6,
)
"""Whole waves and no other loss."""

DEVICE = Accelerator(
    name="tiled",
    vendor="test",
    architecture="test",
    peak_flops={"bf16": 1e15, "fp8": 2e15},
    memory_bytes=80e9,
    memory_bandwidth=1e18,
    kernels=PLAIN,
    compute_units=100,
)
"""So fast a memory that only computing counts."""


def seconds(
    m: float, n: float, k: float, precision: str = "bf16", device: Accelerator = DEVICE, **more: object
) -> float:
    sizes = (np.array([value]) for value in (m, n, k))
    return float(matmul_seconds(*sizes, device, precision, **more)[0]) - 4e-6  # type: ignore[arg-type]


def with_constants(**values: float) -> Accelerator:
    return replace(DEVICE, kernels=replace(PLAIN, **values))


TILE = 2 * 128 * 256 * 8000 / (0.8e15 / 100)
"""Seconds of one tile of 128 x 256 over a contraction of 8000 on one of 100 units."""


def test_one_wave_of_tiles_is_the_plateau() -> None:
    """10 x 10 tiles of 128 x 256 on 100 units: one tile's time, which is the plateau rate of the device."""
    assert seconds(1280, 2560, 8000) == pytest.approx(TILE)
    assert pytest.approx(2 * 1280 * 2560 * 8000 / 0.8e15) == TILE


def test_one_tile_more_costs_a_wave_of_the_smallest_pieces() -> None:
    """101 tiles of 128 x 256 are 404 of 128 x 64, in 4 parts each 1616 pieces of a sixteenth: 17 waves on 100 units."""
    assert seconds(101 * 128, 256, 8000) == pytest.approx(17 / 16 * TILE, rel=1e-6)


def test_the_share_of_a_wave_that_is_paid() -> None:
    """101 tiles as above: of 16.16 waves of pieces a share of .4 is paid as 17."""
    found = seconds(101 * 128, 256, 8000, device=with_constants(matmul_wave=0.4))
    assert found == pytest.approx(TILE * (0.4 * 17 + 0.6 * 16.16) / 16, rel=1e-6)


def test_few_tiles_are_split_along_the_contraction() -> None:
    """25 tiles of 128 x 256: smaller tiles (64 x 64 is not offered) and splits by 4 fill the 100 units."""
    assert seconds(5 * 128, 5 * 256, 8000) == pytest.approx(TILE / 4, rel=1e-3)


def test_a_short_contraction_pays_for_filling_the_tile() -> None:
    """k0 = 100: time x (1 + 100 / k) where nothing is split."""
    device = with_constants(matmul_tile_k=100.0)
    assert seconds(1280, 2560, 1000, device=device) == pytest.approx(1.1 * TILE / 8)


def test_filling_a_tile_takes_the_same_time_in_any_precision() -> None:
    """At twice the rate the products take half, k0 not."""
    device = with_constants(matmul_tile_k=100.0)
    assert seconds(1280, 2560, 1000, "fp8", device) == pytest.approx((1.0 / 2 + 0.1) * TILE / 8)


def test_narrow_tiles_lose_relative_to_the_best() -> None:
    """64 rows: tiles of 64 x 128 lose edge (1/64 + 1/128) against edge (1/128 + 1/256) of the plateau's."""
    device = with_constants(matmul_tile_edge=16.0)
    loss = (1 + 16 * (1 / 64 + 1 / 128)) / (1 + 16 * (1 / 128 + 1 / 256))
    assert seconds(64, 25_600, 8000, device=device) == pytest.approx(loss * TILE / 2)


def test_rows_that_lie_a_multiple_of_4_kib_apart_are_slower() -> None:
    """16-bit rows of 2048 in both operands cost the loss (half each), in the result a third of it."""
    device = with_constants(matmul_stride=0.06)
    plain = seconds(1280, 2560, 2048)
    assert seconds(1280, 2560, 2048, device=device) == pytest.approx(plain * 1.03**2)
    assert seconds(1280, 2560, 2000, device=device) == pytest.approx(seconds(1280, 2560, 2000))
    assert seconds(1280, 4096, 2000, device=device) == pytest.approx(seconds(1280, 4096, 2000) * 1.02)


@pytest.mark.parametrize(
    ("n", "slower"), [(50304, 1.0), (25128, 1.0), (12564, 3 ** (1 / 3)), (6282, 3 ** (2 / 3)), (50257, 3.0)]
)
def test_columns_that_threads_cannot_read_16_bytes_at_a_time(n: int, slower: float) -> None:
    """50,257 tokens over 1, 2, 4 and 8 ranks: rows of an odd length triple the time, each doubling takes a third of it back."""
    padded = -(-n // 64) * 64  # as many tiles of any size
    assert seconds(1024, n, 4096) / seconds(1024, padded, 4096) == pytest.approx(slower, rel=1e-3)


def test_experts_share_their_waves() -> None:
    """100 experts of one tile each fill the 100 units; one by one each has 16 pieces for them."""
    assert seconds(128, 256, 8000, groups=np.array([100.0])) == pytest.approx(TILE)
    assert seconds(128, 256, 8000) == pytest.approx(TILE / 16, rel=1e-6)


def test_streaming_and_computing_meet_in_a_rounded_corner() -> None:
    """Equal times: (1 + 1)^(1/4) of one of them."""
    compute = seconds(1280, 2560, 8000)
    moved = 2 * (1280 * 8000 + 8000 * 2560 + 1280 * 2560)
    device = replace(DEVICE, memory_bandwidth=moved / compute)
    assert seconds(1280, 2560, 8000, device=device) == pytest.approx(compute * 2**0.25)


SIZE = st.integers(1, 20_000)


@given(m=SIZE, n=SIZE, k=SIZE)
def test_never_faster_than_the_plateau_and_no_slower_with_more_memory(m: int, n: int, k: int) -> None:
    device = with_constants(matmul_tile_k=130.0, matmul_tile_edge=8.0, matmul_wave=0.4, matmul_stride=0.03)
    slow = replace(device, memory_bandwidth=1e12)
    found = seconds(m, n, k, device=device)
    assert found >= 2 * m * n * k / 0.8e15 * (1 - 1e-9)
    assert seconds(m, n, k, device=slow) >= found


def test_a_batch_of_many_is_a_batch_of_one_each() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.integers(1, 9000, size=(3, 50)).astype(np.float64)
    many = matmul_seconds(*sizes, DEVICE, "bf16")
    ones = [matmul_seconds(*(column[i : i + 1] for column in sizes), DEVICE, "bf16")[0] for i in range(50)]
    assert many.tolist() == ones


def test_products_of_experts_hardly_hide_their_traffic() -> None:
    """A weight gradient that is added to fp32: a hundred of one tile each, whose 100 x 128 x 256 x 8 bytes take as long as
    computing; one large product of as many tiles hides them (2^(1/4)), the products of experts do not (2^(1/1.3))."""
    sizes = np.array([1280.0]), np.array([2560.0]), np.array([8000.0])
    slow = replace(with_constants(launch_s=0.0), memory_bandwidth=1280 * 2560 * 8 / TILE)
    operands = {"element_bytes": 0.0, "result_bytes": 8.0}
    whole = matmul_seconds(*sizes, slow, "bf16", **operands)[0]  # type: ignore[arg-type]
    each = np.array([128.0]), np.array([256.0]), np.array([8000.0])
    experts = matmul_seconds(*each, slow, "bf16", groups=np.array([100.0]), **operands)[0]  # type: ignore[arg-type]
    assert whole == pytest.approx(2**0.25 * TILE)
    assert experts == pytest.approx(2 ** (1 / 1.3) * TILE)
