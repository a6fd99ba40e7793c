"""Makespans and peaks of simulated schedules equal the published closed forms over the whole grid where these hold.

The formulas stand in the table of docs/schedules.md with their sources.
"""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.fused import eager_1f1b, gpipe, one_f_one_b
from planner.simulator.schedules.interleaved import interleaved_1f1b, interleaved_zb, looped_bfs
from planner.simulator.schedules.sequence import seq1f1b
from planner.simulator.schedules.v_shape import dualpipe_v, zb_v
from planner.simulator.schedules.zero_bubble import zb_h1, zb_h2
from tests.simulator.schedules.closed_forms import (
    LIGHT_WEIGHTS,
    RANKS,
    UNEQUAL,
    check_bubble,
    check_peak,
    grid,
    times_at,
)

HOPS = [0.01, 0.3]


@pytest.mark.parametrize("p", RANKS)
def test_gpipe(p: int) -> None:
    """arXiv 1811.06965: (p - 1)(f + b), everything in flight; a hop is met once on the way down and once up."""
    for m in grid(p):
        schedule = gpipe(p, m)
        check_peak(schedule, m)
        for times in times_at(p, m, UNEQUAL):
            check_bubble(schedule, times, (p - 1) * sum(times))
        for hop in HOPS:
            check_bubble(schedule, UNEQUAL[0], (p - 1) * sum(UNEQUAL[0]) + 2 * (p - 1) * hop, hop=hop)


@pytest.mark.parametrize("p", RANKS)
def test_one_f_one_b(p: int) -> None:
    """arXiv 2104.04473, section 2.2.1: bubble of GPipe, at most p - r in flight; hops recur once per p micro-batches."""
    for m in grid(p):
        schedule = one_f_one_b(p, m)
        check_peak(schedule, np.minimum(p - np.arange(p), m))
        for times in times_at(p, m, UNEQUAL):
            check_bubble(schedule, times, (p - 1) * sum(times))
        if m % p == 0:
            hops = 2 * (p - 1) * (m / p + 1) - 2
            for hop in HOPS:
                check_bubble(schedule, UNEQUAL[1], (p - 1) * sum(UNEQUAL[1]) + hops * hop, hop=hop)


@pytest.mark.parametrize("p", RANKS)
def test_eager_1f1b(p: int) -> None:
    """arXiv 2211.05322: twice the warm-up of 1F1B hides all hops but those of fill and drain."""
    for m in grid(p):
        schedule = eager_1f1b(p, m)
        check_peak(schedule, np.minimum(2 * (p - 1 - np.arange(p)) + 1, m))
        for times in times_at(p, m, UNEQUAL):
            check_bubble(schedule, times, (p - 1) * sum(times))
        for hop in HOPS:
            check_bubble(schedule, UNEQUAL[2], (p - 1) * sum(UNEQUAL[2]) + 2 * (p - 1) * hop, hop=hop)


@pytest.mark.parametrize("v", [1, 2, 4])
@pytest.mark.parametrize("p", RANKS)
def test_interleaved_1f1b(p: int, v: int) -> None:
    """arXiv 2104.04473, section 2.2.2: the bubble shrinks v times; p + (p - 1) / v in flight on rank 0."""
    for m in range(p, 8 * p + 1, p):
        schedule = interleaved_1f1b(p, v, m)
        check_peak(schedule, np.minimum(2 * (p - 1 - np.arange(p)) + (v - 1) * p + 1, m * v) / v)
        for times in UNEQUAL:
            bubble = (p - 1) * sum(times) / v
            check_bubble(schedule, times, bubble, chunks=v)
            shortest = min(times[0], times[1] + times[2]) / v
            for hop in (0.01, shortest):
                check_bubble(schedule, times, bubble + 2 * (p * v - 1) * hop, chunks=v, hop=hop)


@pytest.mark.parametrize("v", [1, 2, 4])
@pytest.mark.parametrize("p", RANKS)
def test_looped_bfs(p: int, v: int) -> None:
    """arXiv 2211.05953: the interleaved bubble with everything in flight."""
    for m in grid(p):
        schedule = looped_bfs(p, v, m)
        check_peak(schedule, m)
        times = UNEQUAL[m % len(UNEQUAL)]
        check_bubble(schedule, times, (p - 1) * sum(times) / v, chunks=v)


@pytest.mark.parametrize("p", RANKS)
def test_zb_h1(p: int) -> None:
    """arXiv 2401.10241, table 2: (p - 1)(f + bi - w), for f >= w; p in flight on every rank."""
    for m in grid(p):
        schedule = zb_h1(p, m)
        check_peak(schedule, p)
        for f, bi, w in times_at(p, m, LIGHT_WEIGHTS):
            bubble = (p - 1) * (f + max(0.0, bi - w))
            check_bubble(schedule, (f, bi, w), bubble)
            if m >= 2 * p and bi >= w:
                check_bubble(schedule, (f, bi, w), bubble + 4 * (p - 1) * 0.01, hop=0.01)


@pytest.mark.parametrize("v", [1, 2, 4])
@pytest.mark.parametrize("p", RANKS)
def test_interleaved_zb(p: int, v: int) -> None:
    """ZB-H1's bubble shrinks v times; PyTorch's order keeps p in flight on every rank."""
    for m in range(p, 8 * p + 1, p):
        schedule = interleaved_zb(p, v, m)
        check_peak(schedule, p)
        for f, bi, w in times_at(p, m, LIGHT_WEIGHTS):
            check_bubble(schedule, (f, bi, w), (p - 1) * (f + max(0.0, bi - w)) / v, chunks=v)


@pytest.mark.parametrize("p", RANKS)
def test_zb_h2(p: int) -> None:
    """arXiv 2401.10241, section 2.2: only the first rank's lead stays in the makespan; 2p - 1 in flight everywhere."""
    for m in range(2 * p - 1, 8 * p + 1):
        schedule = zb_h2(p, m)
        check_peak(schedule, 2 * p - 1)
        for f, bi, w in times_at(p, m, LIGHT_WEIGHTS):
            rank_bubble = check_bubble(schedule, (f, bi, w), (p - 1) * f).rank_bubble_s.max()
            assert rank_bubble == pytest.approx((p - 1) * max(0.0, f + bi - 2 * w), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("p", RANKS)
def test_zb_v(p: int) -> None:
    """arXiv 2401.10241, section 6: no wait between a rank's passes when f = bi = w; p in flight."""
    for m in range(2 * p, 8 * p + 1, max(1, p // 4)):
        schedule = zb_v(p, m)
        check_peak(schedule, p)
        rank_bubble = check_bubble(schedule, (1.0, 1.0, 1.0), (p - 1) / 2, chunks=2).rank_bubble_s.max()
        assert rank_bubble == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("p", RANKS)
def test_dualpipe(p: int) -> None:
    """github.com/deepseek-ai/DualPipe: (p/2 - 1)(F&B + B - 3W) with F&B = f + b, p + 1 stages' activations on every rank."""
    for m in range(2 * p, 8 * p + 1, max(2, p // 4)):
        schedule = dualpipe(p, m)
        check_peak(schedule, p + 1)
        check_bubble(schedule, (1.0, 1.0, 1.0), (p / 2 - 1) * (3 + 2 - 3))


@pytest.mark.parametrize("p", RANKS)
def test_dualpipe_v(p: int) -> None:
    """github.com/deepseek-ai/DualPipe, halved: (p - 1)(F&B + B - 3W) / 2; p + 1/2 in flight on every rank."""
    for m in range(2 * p, 8 * p + 1, max(1, p // 4)):
        schedule = dualpipe_v(p, m)
        check_peak(schedule, p + 0.5)
        check_bubble(schedule, (1.0, 1.0, 1.0), (p - 1) * (3 + 2 - 3) / 2, chunks=2)


@pytest.mark.parametrize("slices", [1, 2, 4])
@pytest.mark.parametrize("p", RANKS)
def test_seq1f1b(p: int, slices: int) -> None:
    """arXiv 2406.03488: bubble and warm-up of 1F1B shrink with the slices."""
    for m in range(p, 8 * p + 1, p):
        schedule = seq1f1b(p, m, slices)
        warm = np.minimum(p - np.arange(p) - 1 + slices, m * slices)
        check_peak(schedule, warm / slices)
        for times in UNEQUAL:
            check_bubble(schedule, times, (p - 1) * sum(times) / slices, chunks=slices)
