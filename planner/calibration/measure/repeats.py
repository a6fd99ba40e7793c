"""When a measurement may stop, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST, MOST = 5, 12
"""Windows of one point: never fewer; not more, however much they scatter."""

FEWEST_LONG, LONGEST_S = 3, 1.0
"""Points whose windows take long need fewer of them: not more once they have taken so many seconds together."""

STEADY = 0.02
"""Relative spread (median absolute deviation) at which a point is done."""

NOISY = 0.05
"""Relative spread, or drift, from which a point counts less and says so."""


@dataclass(frozen=True)
class Summary:
    """What the windows of one point say.

    Args:
        seconds: median over the windows, of one call.
        spread: median absolute deviation over the median.
        windows: how many.
        drift: medians of the later and of the earlier half, difference over the median.
    """

    seconds: float
    spread: float
    windows: int
    drift: float

    @property
    def noisy(self) -> bool:
        """Whether the windows are no independent draws of one steady time (the iid check of TEMPI, arXiv 2012.14363)."""
        return self.spread > NOISY or abs(self.drift) > 2.0 * max(self.spread, NOISY)


def summarise(windows: Sequence[float]) -> Summary:
    """The summary of seconds per call, window by window in their order."""
    values = np.asarray(windows, dtype=np.float64)
    middle = float(np.median(values))
    half = len(values) // 2
    drift = float(np.median(values[-half:]) - np.median(values[:half])) / middle if half else 0.0
    spread = float(np.median(np.abs(values - middle))) / middle
    return Summary(middle, spread, len(values), drift)


def enough(windows: Sequence[float], shortest_s: float = 0.0) -> bool:
    """Whether more windows would tell no more, or take too long.

    Args:
        windows: seconds per call.
        shortest_s: that a window lasts, where its calls are shorter.
    """
    spent = sum(max(seconds, shortest_s) for seconds in windows)
    if len(windows) >= FEWEST_LONG and spent >= LONGEST_S:
        return True
    if len(windows) < FEWEST:
        return False
    return len(windows) >= MOST or summarise(windows).spread <= STEADY
