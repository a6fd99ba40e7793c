"""Predictions of a sweep by other constants: from hardware alone, and fitted to the other half of the sweep."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.calibration.fit.collectives import Priced, fit_values, priced
from planner.validation.collectives.sweeps import FloatArray, Sweep

HARDWARE = "hardware constants"
HALF = "half held out"

LEAST_POINTS = 8
"""Timings of a sweep from which half of it says something of the other half."""


def beside(sweep: Sweep) -> Mapping[str, FloatArray]:
    """Seconds of every timing by constants other than the committed ones; nothing for a short sweep."""
    found = priced([sweep])
    if not found or len(sweep.timings) < LEAST_POINTS:
        return {}
    return {HARDWARE: found[0].predicted({}), HALF: half_held_out(found[0])}


def half_held_out(part: Priced) -> FloatArray:
    """Every timing from constants fitted to every second other one, both ways.

    Fitted are the constants of the widest level that the group crosses, those of the levels inside stay at their priors, and
    where kernels wait for the slowest host, its time between calls.
    """
    odd = np.argsort(np.argsort(part.sweep.sizes, kind="stable")) % 2 == 1
    constants = tuple(part.constants(levels=part.crossed[-1:]))
    predicted = part.predicted({})
    for tested in (odd, ~odd):
        if constants:
            values = fit_values(constants, [(part, ~tested)])
            predicted = np.where(tested, part.usual(values, ~tested), predicted)
    return predicted
