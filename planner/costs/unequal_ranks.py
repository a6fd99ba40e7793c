"""Waits of unequal pipeline ranks under schedules that alternate forwards and backwards. Docs: docs/schedules.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import FloatArray
from planner.layouts.layouts import IntArray


@dataclass(frozen=True)
class Passes:
    """Seconds of one micro-batch on a rank, shape (rows,): forward, input gradient, weight gradient.

    A fused backward is an input gradient, and its weight gradient is 0.
    """

    f: FloatArray
    bi: FloatArray
    w: FloatArray


def unequal_waits(
    ranks: Sequence[Sequence[int]], passes: Sequence[Passes], ahead: IntArray
) -> list[FloatArray]:
    """Seconds that the member of each class that waits longest waits, once the pipeline is full (m >= ahead x p).

    Rank r begins after the forwards of the ranks before it. It waits for its first backward what the forwards of the
    warm-up, ``ahead`` per later rank, leave of the way to the last rank and back, and for its last backward what as many
    backwards leave. The step ends with rank 0: after r input gradients and a weight gradient of other ranks, while rank r
    still works the weight gradients that it has put off, ``ahead`` per earlier rank. All four are convex in r where
    ranks are equal, so of a run of equal ranks an end waits longest.

    Exact where all ranks are equal, for a fused backward also where one of them, or the first and the last, differ; else
    a lower bound, found by comparing with event simulations.

    Args:
        ranks: members of each class; together all pipeline ranks.
        passes: of each class.
        ahead: forwards of the warm-up per later rank, shape (rows,).
    """
    last = sum(len(members) for members in ranks) - 1
    final = next(mine.w for members, mine in zip(ranks, passes, strict=True) if 0 in members)
    result = []
    for members, mine in zip(ranks, passes, strict=True):
        longest = np.zeros_like(mine.f)
        for rank in members:
            if rank - 1 in members and rank + 1 in members:
                continue
            begin, end, way = _around(rank, ranks, passes)
            later, put_off = ahead * (last - rank), (ahead * rank + 1) * mine.w
            wait = begin + np.maximum(way - later * mine.f, 0.0)
            wait = wait + np.maximum(way - later * (mine.bi + mine.w), 0.0)
            np.maximum(longest, wait + np.maximum(end + final - put_off, 0.0), out=longest)
        result.append(longest)
    return result


def _around(
    rank: int, ranks: Sequence[Sequence[int]], passes: Sequence[Passes]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of one micro-batch: forwards and input gradients on all ranks before a rank, and both on all ranks after it."""
    begin = np.zeros_like(passes[0].f)
    end, way = begin.copy(), begin.copy()
    for members, other in zip(ranks, passes, strict=True):
        earlier = sum(member < rank for member in members)
        later = len(members) - earlier - (rank in members)
        begin += earlier * other.f
        end += earlier * other.bi
        way += later * (other.f + other.bi)
    return begin, end, way
