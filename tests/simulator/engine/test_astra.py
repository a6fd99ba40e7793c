"""Collectives message by message come out as ASTRA-sim's analytical, congestion-aware backend times them.

Expected: astra-sim 518bd51 with astra-network-analytical 599a047; 64 MiB, bandwidth 50, latency 500 ns, endpoint delay
10 ns, local memory 1600, one split, one active chunk; whole nanoseconds. That agreement checks our engine, not accuracy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from planner.simulator.engine.shared import run_shared
from planner.simulator.program import Program
from tests.simulator.engine.astra import ring_all_gather, ring_all_reduce, switch_all_to_all

NBYTES = 64 * 2**20
FULL = 512
"""Up to so many NPUs each one is simulated; beyond, one stands for all: in these collectives all act alike."""

ALL_REDUCE = {
    8: 2_304_732,
    16: 2_477_005,
    32: 2_575_304,
    64: 2_648_971,
    128: 2_734_447,
    256: 2_874_625,
    512: 3_140_105,
    1024: 3_662_350,
}
ALL_GATHER = {
    8: 8_753_580,
    16: 18_757_660,
    32: 38_765_820,
    64: 78_782_140,
    128: 158_814_780,
    256: 318_880_060,
    512: 639_010_620,
    1024: 1_279_271_740,
}
ALL_TO_ALL = {
    8: 1_251_020,
    16: 1_251_020,
    32: 1_251_004,
    64: 1_251_004,
    128: 1_250_940,
    256: 1_250_812,
    512: 1_250_812,
    1024: 1_250_300,
}
CASES = [
    (build, npus, expected)
    for build, column in (
        (ring_all_reduce, ALL_REDUCE),
        (ring_all_gather, ALL_GATHER),
        (switch_all_to_all, ALL_TO_ALL),
    )
    for npus, expected in column.items()
]


@pytest.mark.parametrize(("build", "npus", "expected"), CASES)
def test_nanoseconds_equal_astra_sim(
    build: Callable[[int, float, int], Program], npus: int, expected: int
) -> None:
    execution = run_shared(build(npus, NBYTES, npus if npus <= FULL else 1))
    assert abs(execution.makespan_s - expected) <= 1


@pytest.mark.parametrize("build", [ring_all_reduce, ring_all_gather, switch_all_to_all])
def test_one_npu_stands_for_all(build: Callable[[int, float, int], Program]) -> None:
    one, many = (run_shared(build(16, NBYTES, simulated)) for simulated in (1, 16))
    assert one.makespan_s == many.makespan_s


def test_every_port_carries_its_messages() -> None:
    """All-reduce: 2 (N - 1) parts of S / N out of each NPU; all-to-all: N - 1 into and out of each."""
    reduced = run_shared(ring_all_reduce(8, NBYTES, 8)).carried
    exchanged = run_shared(switch_all_to_all(8, NBYTES, 8)).carried
    np.testing.assert_allclose(reduced, np.full(8, 2 * 7 / 8 * NBYTES), rtol=1e-12)
    np.testing.assert_allclose(exchanged, np.full(16, 7 / 8 * NBYTES), rtol=1e-12)
