"""What a pipeline adds to the work of one rank: the longest of a few paths through its schedule. Docs: docs/schedules.md.

A makespan is the length of the longest path through the order of the passes, so for equal ranks it is the largest of a
few sums of pass times. Here are these sums less the m micro-batches that every rank works anyway, in passes of a whole
rank: forwards (f), input gradients (bi) and weight gradients (w). Symbols: p ranks, n = p - 1 others, v chunks, m
micro-batches. Where no publication gives a form it was read off event simulations; the tests run them again.

Which of a path's passes a rank works itself and which the others work shows on unequal ranks only. It is that of a
pipeline whose head makes one rank slow: the last one, or under V and dual placements the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from planner.costs.sizes import FloatArray
from planner.layouts.layout import Schedule

Count = FloatArray | float
Counts = tuple[Count, Count, Count]
"""Of f, bi and w; each of shape (rows,) or a scalar."""


class Path(NamedTuple):
    """A path as a rank sees it.

    Args:
        others: passes of other ranks that it adds; f and bi are not negative, so that longer ones never shorten a step.
        own: passes of the rank's own m micro-batches that it leaves out, none negative, at most m.
    """

    others: Counts
    own: Counts = (0.0, 0.0, 0.0)


Paths = tuple[Path, ...]


def waiting_paths(schedule: Schedule, p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """The paths of a schedule. Without a closed form NaN.

    Args:
        p, v, m: pipeline ranks, chunks per rank, micro-batches, shape (rows,).
    """
    if schedule not in _PATHS:
        return (Path((np.nan, np.nan, np.nan)),)
    return _PATHS[schedule](p, v, m)


def _path(f: Count, bi: Count, w: Count) -> Path:
    """These passes more (of others) or, negative, less (of its own)."""
    counts = (f, bi, w)
    return Path(_clipped(counts), _clipped(tuple(-count for count in counts)))


def _elsewhere(counts: Counts, passes: Count) -> Path:
    """These passes more or less, where so many micro-batches pass along other ranks instead of this one."""
    return Path(_clipped(tuple(count + passes for count in counts)), (passes, passes, passes))


def _clipped(counts: Iterable[Count]) -> Counts:
    f, bi, w = (0.0 if isinstance(x, float) and x <= 0.0 else np.maximum(x, 0.0) for x in counts)
    return f, bi, w


def _one_chunk(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p - 1)(f + b): GPipe (arXiv 1811.06965), PipeDream-Flush (arXiv 2104.04473), eager 1F1B (arXiv 2211.05322)."""
    return (_path(p - 1.0, p - 1.0, p - 1.0),)


def _interleaved(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p - 1)(f + b) / v (arXiv 2104.04473, section 2.2)."""
    return (_path(*[(p - 1.0) / v] * 3),)


def _looped_bfs(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """As interleaved (arXiv 2211.05953); with m < p every turn to the next chunk waits for p - m passes."""
    return (_path(*[(p - 1.0 + (v - 1.0) * np.maximum(p - m, 0.0)) / v] * 3),)


def _zb_h1(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p - 1)(f + bi) - e min(f, bi, w), e = min(m, p) - 1: each of e gaps is filled by a weight gradient.

    For f >= w and m >= p the (p - 1)(f + bi - w) of arXiv 2401.10241 (bi >= w).
    """
    n, filled = p - 1.0, np.minimum(m, p) - 1.0
    return _filled_by_others(n, filled, m), _path(n, n - filled, 0.0), _ends_elsewhere(n, filled)


def _filled_by_others(n: FloatArray, filled: FloatArray, m: FloatArray) -> Path:
    """(p - 1) bi and what forwards leave of (p - 1) f: the others are busy all the time, a slower rank has slack."""
    return _elsewhere((n - filled, n, 0.0), m)


def _ends_elsewhere(n: FloatArray, filled: FloatArray) -> Path:
    """(p - 1)(f + bi), filled with the rank's own weight gradients; the step ends with another rank's."""
    return Path((n, n, 1.0), (0.0, 0.0, filled + 1.0))


def _interleaved_zb(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p - 1)(f + bi - min(f, bi, w)) / v; weight gradients of chunks without the head fill."""
    n = (p - 1.0) / v
    return _path(0.0, n, 0.0), _path(n, 0.0, 0.0), Path((n, n, -n))


def _zb_h2(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p - 1)(f + bi) - min(e f, e w, (e // 2) bi + (e % 2) min(f, bi, w)), e = min(m, 2p - 1) - 1.

    For m >= 2p - 1, f >= w and 2w >= bi >= f the (p - 1) f of arXiv 2401.10241.
    """
    n, filled = p - 1.0, np.minimum(m, 2.0 * p - 1.0) - 1.0
    odd = filled % 2.0
    pairs = (filled - odd) / 2.0
    return (
        _filled_by_others(n, filled, m),
        _ends_elsewhere(n, filled),
        _path(n - odd, n - pairs, 0.0),
        _path(n, n - pairs - odd, 0.0),
        _path(n, n - pairs, -odd),
    )


def _zb_v(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """Half of the longest path; f / 2 per other rank for f = bi = w, m >= 2p - 1 (arXiv 2401.10241, section 6).

    Exact for m <= p and m >= 2p - 1, and everywhere for f = bi = w; between, some paths are missing.
    """
    nothing: Counts = (0.0, 0.0, 0.0)
    n, few = p - 1.0, m <= p
    paths = [
        _elsewhere(_halves(*(np.where(few, a, b) for a, b in zip(one, other, strict=True))), m)
        for one, other in zip_longest(_zb_v_few(p, m), _zb_v_many(p, m), fillvalue=nothing)
    ]
    busy = np.where(m >= 2.0 * p - 1.0, n, 0.0)
    alone = (0.0, 0.0, np.maximum(busy - 1.0, 0.0)), (0.0, busy, -busy - 1.0)
    return *paths, *(_path(*_halves(*counts)) for counts in alone)


def _halves(f: Count, bi: Count, w: Count) -> Counts:
    """Chunk passes in passes of a rank of two chunks."""
    return f / 2.0, bi / 2.0, w / 2.0


def _zb_v_few(p: FloatArray, m: FloatArray) -> tuple[Counts, ...]:
    """m <= p, in chunk passes; ``j`` micro-batches follow the first."""
    n, j = p - 1.0, np.minimum(m, p) - 1.0
    return (
        (2.0 * (n - j), 2.0 * n, 0.0),
        (2.0 * n - j, 2.0 * n - j, 0.0),
        (2.0 * n, 2.0 * n - 3.0 * j, -j),
        (2.0 * n, 2.0 * (n - j), -2.0 * j),
    )


def _zb_v_many(p: FloatArray, m: FloatArray) -> tuple[Counts, ...]:
    """m > p, in chunk passes; ``k`` micro-batches beyond p, of which n fill every gap."""
    n = p - 1.0
    k = np.clip(m - p, 1.0, np.maximum(n, 1.0))
    return (
        (0.0, 2.0 * n, -2.0 * k),
        (0.0, 2.0 * n - k, k - n),
        (0.0, 2.0 * (n - k), 0.0),
        (0.0, n - k + 1.0, k - 1.0),
        (n - k + 1.0, 0.0, k - 1.0),
        (n - k, n - k, 0.0),
        (n + k - 1.0, 1.0 - k, 0.0),
        (n + k - 1.0, n - k + 1.0, -2.0 * k),
        (n + k - 1.0, np.where(k < n, 2.0, 1.0) - k, k - n),
        (n + k, -k, -1.0),
        (n + k, n - 2.0 * k, -k),
        (n + k, n - k, -2.0 * k - 1.0),
        (2.0 * n, 0.0, -2.0 * n - 1.0),
        (2.0 * n, -k, k - 2.0 * n),
        (2.0 * n, -n, -np.minimum(n, 2.0 * (n - k) + 1.0)),
    )


def _dualpipe(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """(p / 2 - 1)(f + 2b - 3w) for f = bi = w (arXiv 2412.19437, table 2; a fused pair takes f + b)."""
    n = p / 2.0 - 1.0
    paths = [_elsewhere(counts, 2.0 * (2.0 * n + 1.0)) for counts in _dual(n)]
    return *paths, Path((0.0, n, -n))


def _dualpipe_v(p: FloatArray, v: FloatArray, m: FloatArray) -> Paths:
    """DualPipe of 2p ranks, cut in half (github.com/deepseek-ai/DualPipe)."""
    n = p - 1.0
    paths = [_elsewhere(_halves(*counts), 2.0 * n + 1.0) for counts in _dual(n)]
    return *paths, Path(_halves(0.0, n, -n))


def _dual(n: FloatArray) -> tuple[Counts, ...]:
    """max(2n f, (n - 1) f + n bi) + n max(0, bi - w), nothing for n = 0."""
    fewer = np.maximum(n - 1.0, 0.0)
    return (2.0 * n, 0.0, 0.0), (fewer, n, 0.0), (2.0 * n, n, -n), (fewer, 2.0 * n, -n)


def hops(schedule: Schedule, p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """How many hop latencies the makespan holds, for hops shorter than the passes that they hide behind.

    Of schedules with a split backward where f = bi = w or, zb_h1 and interleaved_zb, w < f, bi; elsewhere the longest
    path is another one, which crosses ranks a few times more or less.

    Args:
        p, v, m: pipeline ranks, chunks per rank, micro-batches, shape (rows,).
    """
    return _HOPS.get(schedule, _there_and_back)(p, v, m)


def _there_and_back(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    return 2.0 * (p - 1.0)


def _all_chunks(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """Through every virtual stage and back."""
    return 2.0 * (p * v - 1.0)


def _recurring(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """Without slack a hop recurs once per p micro-batches: 2(p - 1)(m / p + 1) - 2 for p | m."""
    return 2.0 * (p + m - 2.0 - np.ceil((m - 1.0) / p))


def _looped_bfs_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """m - p passes of slack hide the hops between chunks."""
    return np.where(m > p, _there_and_back(p, v, m), _all_chunks(p, v, m))


def _zb_h1_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    return 2.0 * (p - 1.0) + 2.0 * np.minimum(p - 1.0, np.maximum(m - 2.0, 0.0))


def _interleaved_zb_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    return 4.0 * (p - 1.0) + p * (v - 1.0) - np.where(m > p, 0.0, 2.0)


def _zb_h2_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    return 2.0 * (p - 1.0) - np.floor(np.minimum(m - 1.0, 2.0 * (p - 1.0)) / 2.0)


def _zb_v_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """5p - 7 from m = 2p - 1 on, 4(p - 1) up to m = p + 1; between, up to 4 less than simulated for p <= 9."""
    few = 4.0 * (p - 1.0) + np.maximum(m - p - 2.0, 0.0)
    return np.where(m >= 2.0 * p - 1.0, 5.0 * p - 7.0, few)


def _dualpipe_hops(p: FloatArray, v: FloatArray, m: FloatArray) -> FloatArray:
    """They recur as under 1F1B: a fused pair needs the pairs of both neighbours."""
    return m + 3.0 * (p / 2.0 - 1.0) - np.ceil((m - 2.0) / p)


_PATHS: dict[Schedule, Callable[[FloatArray, FloatArray, FloatArray], Paths]] = {
    "gpipe": _one_chunk,
    "1f1b": _one_chunk,
    "eager_1f1b": _one_chunk,
    "interleaved_1f1b": _interleaved,
    "looped_bfs": _looped_bfs,
    "zb_h1": _zb_h1,
    "interleaved_zb": _interleaved_zb,
    "zb_h2": _zb_h2,
    "zb_v": _zb_v,
    "dualpipe": _dualpipe,
    "dualpipe_v": _dualpipe_v,
}

_HOPS: dict[Schedule, Callable[[FloatArray, FloatArray, FloatArray], FloatArray]] = {
    "1f1b": _recurring,
    "interleaved_1f1b": _all_chunks,
    "looped_bfs": _looped_bfs_hops,
    "zb_h1": _zb_h1_hops,
    "interleaved_zb": _interleaved_zb_hops,
    "zb_h2": _zb_h2_hops,
    "zb_v": _zb_v_hops,
    "dualpipe": _dualpipe_hops,
    "dualpipe_v": _recurring,
}
