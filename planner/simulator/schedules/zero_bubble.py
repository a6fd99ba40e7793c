"""One chunk per rank, weight gradients put off to where a rank would wait: ZB-H1 and ZB-H2 (arXiv 2401.10241)."""

from __future__ import annotations

import numpy as np

from planner.simulator.schedules.ordering import Passes, alternate
from planner.simulator.schedules.schedule import Schedule, one_chain


def zb_h1(ranks: int, micro_batches: int) -> Schedule:
    """1F1B's warm-up; the weight gradients of rank r trail by r micro-batches, so every rank holds p (section 2.1)."""
    return _split("zb_h1", ranks, micro_batches, eager=1)


def zb_h2(ranks: int, micro_batches: int) -> Schedule:
    """Twice the warm-up and twice the delay: 2p - 1 micro-batches held, no wait between a rank's passes (section 2.2).

    A step without global bubble also needs the optimizer's global reductions off the critical path (section 4).
    """
    return _split("zb_h2", ranks, micro_batches, eager=2)


def _split(name: str, ranks: int, micro_batches: int, eager: int) -> Schedule:
    units = np.arange(micro_batches, dtype=np.int64)
    passes = [Passes(np.full_like(units, rank), units) for rank in range(ranks)]
    actions = tuple(
        alternate(own, own, warmup=eager * (ranks - 1 - rank), weight_delay=eager * rank)
        for rank, own in enumerate(passes)
    )
    return one_chain(name, np.arange(ranks, dtype=np.int64), micro_batches, actions)
