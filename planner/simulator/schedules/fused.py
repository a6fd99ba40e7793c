"""One chunk per rank and a fused backward: GPipe, 1F1B, eager 1F1B."""

from __future__ import annotations

import numpy as np

from planner.simulator.schedules.ordering import Passes, alternate
from planner.simulator.schedules.schedule import Schedule, one_chain


def gpipe(ranks: int, micro_batches: int) -> Schedule:
    """All forwards, then all backwards (GPipe, arXiv 1811.06965, section 2.2), both in ascending order as in PyTorch."""
    return _alternating("gpipe", ranks, micro_batches, [micro_batches] * ranks)


def one_f_one_b(ranks: int, micro_batches: int) -> Schedule:
    """Rank r runs p - 1 - r forwards, then forward and backward in turn (PipeDream-Flush; arXiv 2104.04473, figure 4)."""
    return _alternating("1f1b", ranks, micro_batches, [ranks - 1 - rank for rank in range(ranks)])


def eager_1f1b(ranks: int, micro_batches: int) -> Schedule:
    """1F1B with twice the warm-up, 2(p - 1 - r) forwards, so that hops hide behind computation (arXiv 2211.05322)."""
    return _alternating("eager_1f1b", ranks, micro_batches, [2 * (ranks - 1 - rank) for rank in range(ranks)])


def _alternating(name: str, ranks: int, micro_batches: int, warmups: list[int]) -> Schedule:
    units = np.arange(micro_batches, dtype=np.int64)
    passes = [Passes(np.full_like(units, rank), units) for rank in range(ranks)]
    actions = tuple(alternate(own, own, warmup) for own, warmup in zip(passes, warmups, strict=True))
    return one_chain(name, np.arange(ranks, dtype=np.int64), micro_batches, actions)
