"""Closed forms of pipeline schedules: makespan, hop latency, micro-batches in flight. Docs: docs/schedules.md.

Formulas hold for unequal stages where every stage keeps its order: the fill and drain cost one pass through all other
ranks, the steady state runs at the pace of the slowest. Symbols: p ranks, v chunks per rank, m micro-batches, f and b
forward and backward seconds of a whole rank, w the weight-gradient part of b, c seconds of one hop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planner.costs.sizes import FloatArray
from planner.layouts.layout import SCHEDULES, Schedule
from planner.layouts.layouts import IntArray

NEEDS_SIMULATION: tuple[Schedule, ...] = ("v_half", "v_min", "wave", "seq1f1b", "csv")
"""Schedules without a closed form."""

CLOSED_FORMS = tuple(name for name in SCHEDULES if name not in NEEDS_SIMULATION)


def _is(schedule: IntArray, *names: str) -> NDArray[np.bool_]:
    """Whether each row's schedule is one of the names."""
    return np.array([name in names for name in SCHEDULES])[schedule]


SPLIT_BACKWARD: tuple[Schedule, ...] = ("zb_h1", "zb_h2", "zb_v", "interleaved_zb", "dualpipe", "dualpipe_v")
"""Schedules that run weight gradients apart from input gradients."""


def splits_backward(schedule: IntArray) -> NDArray[np.bool_]:
    """Whether each row's schedule puts weight gradients off."""
    return _is(schedule, *SPLIT_BACKWARD)


def waiting(
    columns: Mapping[str, IntArray],
    counts: Sequence[int],
    passes: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
) -> list[FloatArray]:
    """Seconds that a member of each class of ranks waits for the others while the pipeline fills and drains.

    Every other rank adds its fill: f + b for gpipe, 1f1b and eager_1f1b (GPipe, arXiv 1811.06965; PipeDream-flush, arXiv
    2104.04473), (f + b) / v for interleaved_1f1b and looped_bfs, f + bi for zb_h1 and the same / v for interleaved_zb, f for
    zb_h2, f / 2 for zb_v, max(0, f + b - 3w) / 2 for dualpipe and dualpipe_v. Under zb_h1 and interleaved_zb a rank fills
    the others' bi with its own weight gradients, up to p - 1 and to m - 1 of them (arXiv 2401.10241): p equal ranks with
    m >= p wait (p - 1)(f + max(0, bi - w)).

    Args:
        columns: of the layouts: schedule, pp, vpp, micro_batches.
        counts: members of each class.
        passes: (f, b, w) of each class, seconds of one micro-batch; b includes w.
    """
    schedule, v = columns["schedule"], np.maximum(columns["vpp"], 1)
    inputs = [np.where(_is(schedule, "zb_h1", "interleaved_zb"), b - w, 0.0) for _, b, w in passes]
    fills = [_fill(schedule, v, f, b, w) for f, b, w in passes]
    all_fills = sum((n * fill for n, fill in zip(counts, fills, strict=True)), np.zeros(len(schedule)))
    all_inputs = sum((n * bi for n, bi in zip(counts, inputs, strict=True)), np.zeros(len(schedule)))
    fillers = np.minimum(columns["pp"] - 1, columns["micro_batches"] - 1)
    chunks = np.where(_is(schedule, "interleaved_zb"), v, 1)
    piped = columns["pp"] > 1
    return [
        np.where(piped, all_fills - fill - np.minimum(all_inputs - bi, fillers * w) / chunks, 0.0)
        for fill, bi, (_, _, w) in zip(fills, inputs, passes, strict=True)
    ]


def _fill(schedule: IntArray, v: IntArray, f: FloatArray, b: FloatArray, w: FloatArray) -> FloatArray:
    """What one rank adds to the wait of another."""
    both = np.maximum(f + b - 3.0 * w, 0.0) / 2.0
    return np.select(
        [
            _is(schedule, "interleaved_1f1b", "looped_bfs"),
            _is(schedule, "zb_h1"),
            _is(schedule, "interleaved_zb"),
            _is(schedule, "zb_h2"),
            _is(schedule, "zb_v"),
            _is(schedule, "dualpipe", "dualpipe_v"),
        ],
        [(f + b) / v, f + b - w, (f + b - w) / v, f, f / 2.0, both],
        default=f + b,
    )


def hop_count(schedule: IntArray, pp: IntArray, vpp: IntArray, micro_batches: IntArray) -> FloatArray:
    """How many hop latencies the makespan holds.

    1f1b: 2(p-1)(m/p + 1) - 2, because a hop recurs once per p micro-batches; gpipe and eager: 2(p-1); interleaved:
    2(pv - 1); zero-bubble: 4(p-1).
    """
    p, v, m = pp.astype(float), np.maximum(vpp, 1).astype(float), micro_batches.astype(float)
    plain = 2.0 * (p - 1.0)
    recurring = 2.0 * (p - 1.0) * (np.maximum(m / p, 1.0) + 1.0) - 2.0
    chunks = 2.0 * (p * v - 1.0)
    counts = np.select(
        [
            _is(schedule, "1f1b"),
            _is(schedule, "interleaved_1f1b", "looped_bfs", "interleaved_zb"),
            _is(schedule, "zb_h1", "zb_h2"),
            _is(schedule, "zb_v", "dualpipe_v"),
        ],
        [recurring, chunks, 2.0 * plain, 2.0 * (2.0 * p - 1.0)],
        default=plain,
    )
    return np.where(p > 1, counts, 0.0)


def in_flight(
    schedule: IntArray, pp: IntArray, vpp: IntArray, micro_batches: IntArray, rank: IntArray | int
) -> FloatArray:
    """Micro-batches whose activations a rank holds at its peak, in units of one micro-batch on all its chunks."""
    p, v, m = pp.astype(float), np.maximum(vpp, 1).astype(float), micro_batches.astype(float)
    r = np.asarray(rank, dtype=float)
    return np.select(
        [
            _is(schedule, "gpipe", "looped_bfs"),
            _is(schedule, "eager_1f1b"),
            _is(schedule, "interleaved_1f1b"),
            _is(schedule, "zb_h1", "interleaved_zb", "zb_v"),
            _is(schedule, "zb_h2"),
            _is(schedule, "dualpipe"),
            _is(schedule, "dualpipe_v"),
        ],
        [
            m,
            np.minimum(2.0 * (p - 1.0 - r) + 1.0, m),
            np.minimum(2.0 * (p - 1.0 - r) + (v - 1.0) * p + 1.0, m * v) / v,
            np.minimum(p, m),
            np.minimum(2.0 * p - 1.0, m),
            np.minimum((p + 1.0) / 2.0, m),
            np.minimum(p + 0.5, m),
        ],
        default=np.minimum(p - r, m),
    )


def keeps_logits(schedule: IntArray) -> np.ndarray:
    """Whether all micro-batches' logits are alive at once (no backward starts before the last forward)."""
    return _is(schedule, "gpipe", "looped_bfs")
