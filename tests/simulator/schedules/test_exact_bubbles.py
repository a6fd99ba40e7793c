"""Formulas of our own for what the published ones leave out: any pass times, few micro-batches, long hops.

Each is the largest of a few linear forms (lengths of paths through the schedule); docs/schedules.md lists them.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.fused import eager_1f1b, gpipe, one_f_one_b
from planner.simulator.schedules.interleaved import interleaved_1f1b, interleaved_zb, looped_bfs
from planner.simulator.schedules.v_shape import dualpipe_v, zb_v
from planner.simulator.schedules.zero_bubble import zb_h1, zb_h2
from tests.simulator.schedules.closed_forms import Times, check_bubble, check_peak, run

RANKS = st.integers(2, 9)
MICRO_BATCHES = st.integers(1, 40)
CHUNKS = st.integers(1, 4)
SECONDS = st.integers(2, 20).map(lambda tenths: tenths / 10)
TIMES = st.tuples(SECONDS, SECONDS, SECONDS)
HOP = st.sampled_from([0.0, 0.01, 0.5, 3.0])
SMALL = 1e-4
EQUAL = (1.0, 1.0, 1.0)
QUICK = settings(max_examples=60)


@QUICK
@given(RANKS, MICRO_BATCHES, TIMES, HOP)
def test_hops_of_gpipe_and_1f1b(p: int, m: int, times: Times, hop: float) -> None:
    """1F1B pays 2(p + m - 2 - ceil((m - 1) / p)) hops, for any m and any hop; for p | m that is 2(p-1)(m/p + 1) - 2."""
    fill = (p - 1) * sum(times)
    check_bubble(gpipe(p, m), times, fill + 2 * (p - 1) * hop, hop=hop)
    check_bubble(one_f_one_b(p, m), times, fill + 2 * (p + m - 2 - ceil((m - 1) / p)) * hop, hop=hop)


@QUICK
@given(RANKS, MICRO_BATCHES, TIMES, st.floats(0, 1))
def test_eager_1f1b_hides_hops_up_to_half_a_micro_batch(
    p: int, m: int, times: Times, fraction: float
) -> None:
    hop = fraction * sum(times) / 2
    check_bubble(eager_1f1b(p, m), times, (p - 1) * (sum(times) + 2 * hop), hop=hop)


@QUICK
@given(RANKS, CHUNKS, st.integers(0, 30), TIMES, HOP)
def test_hops_of_looped_bfs(p: int, v: int, more: int, times: Times, hop: float) -> None:
    """m - p passes of slack at each of the v - 1 turns of either direction before p hops show."""
    m, (f, bi, w) = p + more, times
    turns = sum(max(0.0, p * hop - (m - p) * seconds / v) for seconds in (f, bi + w))
    bubble = (p - 1) * sum(times) / v + 2 * (p - 1) * hop + (v - 1) * turns
    check_bubble(looped_bfs(p, v, m), times, bubble, chunks=v, hop=hop)


@QUICK
@given(RANKS, CHUNKS, st.integers(0, 20), st.data(), TIMES)
def test_groups_trade_memory_only(p: int, v: int, wider: int, data: st.DataObject, times: Times) -> None:
    """Any group of at least p micro-batches: bubble as with p, (v - 1)(g - p) more chunk passes in flight."""
    g = p + wider
    m = data.draw(st.integers(1, 3)) * g + data.draw(st.sampled_from([0, *range(p, g)]))
    schedule = interleaved_1f1b(p, v, m, group=g)
    check_bubble(schedule, times, (p - 1) * sum(times) / v, chunks=v)
    check_peak(schedule, np.minimum(2 * (p - 1 - np.arange(p)) + (v - 1) * g + 1, m * v) / v)


@QUICK
@given(RANKS, CHUNKS, st.data(), TIMES)
def test_too_few_micro_batches_to_interleave(p: int, v: int, data: st.DataObject, times: Times) -> None:
    """m < p in one round: at each of the v - 1 turns p - m passes are missing."""
    m = data.draw(st.integers(1, p - 1))
    bubble = (p - 1 + (v - 1) * (p - m)) * sum(times) / v
    check_bubble(interleaved_1f1b(p, v, m, rounds=True), times, bubble, chunks=v)


def fill(p: int, times: Times) -> float:
    """One forward and one input gradient of every other rank: the bubble that weight gradients can fill."""
    f, bi, _ = times
    return (p - 1) * (f + bi)


@QUICK
@given(RANKS, MICRO_BATCHES, TIMES)
def test_zb_h1(p: int, m: int, times: Times) -> None:
    """Each of up to p - 1 weight gradients fills a gap, but never more than a forward or an input gradient of it."""
    filled = min(m - 1, p - 1)
    check_bubble(zb_h1(p, m), times, fill(p, times) - filled * min(times))
    check_peak(zb_h1(p, m), min(p, m))


@QUICK
@given(RANKS, MICRO_BATCHES)
def test_hops_of_zb_h1(p: int, m: int) -> None:
    """f > w, bi > w: 2(p - 1) hops for one micro-batch, 4(p - 1) from m = p + 1 on."""
    f, bi, w = times = (1.0, 1.3, 0.9)
    n = p - 1
    bubble = n * (f + bi) - min(m - 1, n) * w
    hops = min(4 * n, 2 * n + 2 * max(0, m - 2))
    check_bubble(zb_h1(p, m), times, bubble + hops * SMALL, hop=SMALL)


@QUICK
@given(RANKS, CHUNKS, st.integers(1, 5), TIMES)
def test_interleaved_zb(p: int, v: int, rounds: int, times: Times) -> None:
    f, bi, w = times
    schedule = interleaved_zb(p, v, p * rounds)
    check_bubble(schedule, times, (fill(p, times) - (p - 1) * min(times)) / v, chunks=v)
    if rounds > 1 and f > w and bi > w:
        hops = 4 * (p - 1) + p * (v - 1)
        check_bubble(
            schedule, times, (p - 1) / v * (f + bi - w) + hops * SMALL / 10, chunks=v, hop=SMALL / 10
        )


@QUICK
@given(RANKS, MICRO_BATCHES, TIMES)
def test_zb_h2(p: int, m: int, times: Times) -> None:
    """Up to 2(p - 1) weight gradients fill gaps, two of them for each input gradient."""
    f, bi, w = times
    n, filled = p - 1, min(m - 1, 2 * (p - 1))
    pairs, odd = divmod(filled, 2)
    schedule = zb_h2(p, m)
    check_bubble(schedule, times, fill(p, times) - min(filled * f, filled * w, pairs * bi + odd * min(times)))
    check_peak(schedule, min(2 * p - 1, m))
    if m >= 2 * p - 1:
        waits = n * max(0.0, bi - f, f + bi - 2 * w)
        assert abs(run(schedule, times).rank_bubble_s.max() - waits) < 1e-9
        check_bubble(schedule, EQUAL, n * (1 + SMALL), hop=SMALL)


@QUICK
@given(RANKS, st.integers(0, 20), TIMES)
def test_zb_v(p: int, more: int, times: Times) -> None:
    """m >= 2p - 1: half of the longest of eight paths; (p - 1) / 2 for f = bi = w = 1."""
    f, bi, w = times
    n = p - 1
    paths = (
        n * bi,
        2 * n * (bi - w),
        f + (n - 1) * w,
        bi + (n - 1) * w,
        (2 * n - 1) * f - (n - 1) * bi,
        (2 * n - 1) * f + bi - 2 * n * w,
        2 * n * f - n * bi - w,
        2 * n * f - (2 * n + 1) * w,
    )
    schedule = zb_v(p, 2 * p - 1 + more)
    check_bubble(schedule, times, max(paths) / 2, chunks=2)
    check_bubble(schedule, EQUAL, n / 2 + (5 * p - 7) * SMALL, chunks=2, hop=SMALL)
    check_peak(schedule, p)


@QUICK
@given(RANKS, MICRO_BATCHES)
def test_zb_v_with_few_micro_batches(p: int, m: int) -> None:
    """Each micro-batch that is missing below (3p - 1) / 2 costs one forward's time."""
    check_bubble(zb_v(p, m), EQUAL, max((p - 1) / 2, 2 * p - 1 - m), chunks=2)


def dual_bubble(n: int, times: Times) -> float:
    """Twice the bubble of DualPipeV with n = p - 1, the bubble of DualPipe with n = p/2 - 1; fused pairs take f + b."""
    f, bi, w = times
    return max(2 * n * f, (n - 1) * f + n * bi) + n * max(0.0, bi - w) if n else 0.0


@QUICK
@given(RANKS, st.integers(0, 20), TIMES)
def test_dualpipe_v(p: int, more: int, times: Times) -> None:
    m = 2 * p + more
    schedule = dualpipe_v(p, m)
    check_bubble(schedule, times, dual_bubble(p - 1, times) / 2, chunks=2)
    hops = 2 * (p + m - 2 - ceil((m - 1) / p))
    check_bubble(schedule, EQUAL, dual_bubble(p - 1, EQUAL) / 2 + hops * SMALL, chunks=2, hop=SMALL)
    check_peak(schedule, p + 0.5)


@QUICK
@given(st.integers(1, 6), st.integers(0, 10), TIMES)
def test_dualpipe(half: int, more: int, times: Times) -> None:
    schedule = dualpipe(2 * half, 4 * half + 2 * more)
    check_bubble(schedule, times, dual_bubble(half - 1, times))
    check_peak(schedule, 2 * half + 1)


@QUICK
@given(st.integers(1, 6), st.integers(2, 6))
def test_hops_of_dualpipe(half: int, turns: int) -> None:
    p, m = 2 * half, 2 * half * turns
    hops = (p - 1) * m / p + max(1, 3 * (half - 1))
    check_bubble(dualpipe(p, m), EQUAL, dual_bubble(half - 1, EQUAL) + hops * SMALL, hop=SMALL)
