"""Best mixes of modes for a bag of layers: the Pareto set of (kept bytes, seconds)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solvers.stages.instance import Floats, Ints

NOISE = 1e-12
"""Relative differences below this are rounding: the same mix added up in another order."""


@dataclass(frozen=True, eq=False)
class Front:
    """Mixes of modes of one bag of layers, bytes ascending, seconds descending.

    Args:
        kept_bytes, seconds: of each mix.
        came: of each mix, the mix of the bag without its last layer, times the number of modes, plus that layer's mode.
    """

    kept_bytes: Floats
    seconds: Floats
    came: Ints

    def within(self, budget_bytes: Floats) -> Ints:
        """The fastest mix that keeps at most so many bytes, per budget; -1 when none does."""
        return np.searchsorted(self.kept_bytes, budget_bytes * (1 + NOISE), side="right") - 1


EMPTY = Front(np.zeros(1), np.zeros(1), np.zeros(1, np.int64))
"""The bag without layers."""


def one_more(front: Front, seconds: Floats, kept_bytes: Floats, most_bytes: float) -> Front:
    """The Pareto set of a bag with one layer more.

    Args:
        seconds, kept_bytes: (modes,) of that layer.
        most_bytes: mixes above can never fit.
    """
    times = (front.seconds[:, None] + seconds).ravel()
    kept = (front.kept_bytes[:, None] + kept_bytes).ravel()
    possible = np.flatnonzero(np.isfinite(times) & (kept <= most_bytes * (1 + NOISE)))
    order = possible[np.lexsort((times[possible], kept[possible]))]
    ordered = times[order]
    better = np.ones(len(order), np.bool_)
    better[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1] * (1 - NOISE)
    chosen = order[better]
    return Front(kept[chosen], times[chosen], chosen)
