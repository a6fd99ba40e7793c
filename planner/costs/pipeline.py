"""Closed forms of pipeline schedules: waiting, hop latency, micro-batches in flight. Docs: docs/schedules.md.

Symbols: p ranks, v chunks per rank, m micro-batches; f and b forward and backward seconds of a whole rank, w the
weight-gradient part of b and bi the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planner.costs.schedule_paths import Counts, Paths, hops, waiting_paths
from planner.costs.sizes import FloatArray
from planner.costs.unequal_ranks import Passes, unequal_waits
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
    ranks: Sequence[Sequence[int]],
    passes: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
) -> list[FloatArray]:
    """Seconds that a member of each class of ranks waits for the others while the pipeline fills and drains.

    The longest of the schedule's paths (``waiting_paths``). What a path adds are passes of the other ranks, of each as
    many; what it leaves out are passes of the rank itself. For equal ranks that is the exact bubble. Schedules
    that alternate forwards and backwards have a closer form for unequal ranks (``unequal_waits``). Under any schedule a
    longer forward or input gradient of any rank lengthens the step or leaves it as it is, which the search's bounds need.

    Args:
        columns: of the layouts: schedule, pp, vpp, micro_batches.
        ranks: members of each class; together all pipeline ranks.
        passes: (f, b, w) of each class, seconds of one micro-batch; b includes w.
    """
    own = [np.stack([f, b - w, w]) for f, b, w in passes]
    counts = [len(members) for members in ranks]
    total = sum((n * seconds for n, seconds in zip(counts, own, strict=True)), np.zeros_like(own[0]))
    others = [np.maximum(total - mine, 0.0) / max(sum(counts) - 1, 1) for mine in own]
    result = [np.zeros(len(columns["schedule"])) for _ in own]
    for name, rows in _by_schedule(columns["schedule"], columns["pp"]):
        shape = _counts(rows, columns["pp"], columns["vpp"], columns["micro_batches"])
        paths = waiting_paths(name, *shape)
        for wait, mine, theirs in zip(result, own, others, strict=True):
            wait[rows] = _longest(paths, mine[:, rows], theirs[:, rows])
    if len(own) > 1:
        _refine_unequal(columns, ranks, passes, result)
    return result


def _refine_unequal(
    columns: Mapping[str, IntArray],
    ranks: Sequence[Sequence[int]],
    passes: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
    waits: Sequence[FloatArray],
) -> None:
    """Puts ``unequal_waits`` into the rows that have enough micro-batches for them."""
    schedule, m, p = columns["schedule"], columns["micro_batches"], columns["pp"]
    ahead = np.where(_is(schedule, "1f1b", "zb_h1"), 1, 2)
    alternating = _is(schedule, "1f1b", "eager_1f1b", "interleaved_1f1b", "zb_h1", "zb_h2")
    rows = np.flatnonzero(alternating & (m >= ahead * p) & (p > 1))
    split = splits_backward(schedule[rows])
    late = [np.where(split, w[rows], 0.0) for _, _, w in passes]
    chosen = [Passes(f[rows], b[rows] - w, w) for (f, b, _), w in zip(passes, late, strict=True)]
    chunks = np.maximum(columns["vpp"][rows], 1)
    for wait, seconds in zip(waits, unequal_waits(ranks, chosen, ahead[rows]), strict=True):
        wait[rows] = seconds / chunks


def _longest(paths: Paths, own: FloatArray, others: FloatArray) -> FloatArray:
    """Seconds of the longest path, at least 0; ``own``, ``others``: (3, rows) seconds of f, bi, w."""
    longest = np.zeros(own.shape[1])
    for path in paths:
        added = _summed(path.others, others)
        left_out = _summed(path.own, own)
        np.maximum(longest, added - left_out, out=longest)
    return longest


def _summed(counts: Counts, seconds: FloatArray) -> FloatArray | float:
    """So many passes of each kind."""
    result: FloatArray | float = 0.0
    for count, each in zip(counts, seconds, strict=True):
        if not (isinstance(count, float) and count == 0.0):
            result = result + count * each
    return result


def hop_count(schedule: IntArray, pp: IntArray, vpp: IntArray, micro_batches: IntArray) -> FloatArray:
    """How many hop latencies the makespan holds, for hops shorter than the passes that they hide behind."""
    result = np.zeros(len(schedule))
    for name, rows in _by_schedule(schedule, pp):
        result[rows] = hops(name, *_counts(rows, pp, vpp, micro_batches))
    return result


def _by_schedule(schedule: IntArray, pp: IntArray) -> Iterator[tuple[Schedule, IntArray]]:
    """(name, rows) of every schedule of several ranks."""
    for code in np.unique(schedule):
        yield SCHEDULES[int(code)], np.flatnonzero((schedule == code) & (pp > 1))


def _counts(rows: IntArray, *columns: IntArray) -> tuple[FloatArray, ...]:
    """Those rows of columns of numbers that are at least 1."""
    return tuple(np.maximum(column[rows], 1).astype(np.float64) for column in columns)


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


def passes_left(schedule: IntArray, pp: IntArray, vpp: IntArray, micro_batches: IntArray) -> FloatArray:
    """Micro-batches that a rank still passes, in units of one on all its chunks, while a step's sums of gradients travel.

    The gradients of a chunk are whole after its last micro-batch. One chunk leaves that micro-batch alone to hide them. Where
    chunks take turns every g micro-batches, all chunks but the last to end leave g micro-batches on each chunk behind them:
    1 / v + (v - 1) g / v in all, with g = p (interleaved 1F1B; Megatron-Core starts each chunk's sums after its last backward
    and its gathers ahead of its first forward, `grad_sync_func` and `param_sync_func` of schedules.py) or all of them
    (breadth-first, arXiv 2211.05953). Backwards in time the same holds of the gathers before the first forward passes.
    """
    p, v, m = pp.astype(float), np.maximum(vpp, 1).astype(float), micro_batches.astype(float)
    turns = np.select(
        [_is(schedule, "interleaved_1f1b"), _is(schedule, "looped_bfs")], [np.minimum(p, m), m], default=1.0
    )
    left: FloatArray = (1.0 + (v - 1.0) * turns) / v
    return left


def keeps_logits(schedule: IntArray) -> np.ndarray:
    """Whether all micro-batches' logits are alive at once (no backward starts before the last forward)."""
    return _is(schedule, "gpipe", "looped_bfs")
