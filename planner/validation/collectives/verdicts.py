"""Whether each sweep meets the bars of its bands of sizes, by hardware constants and by half of the sweep, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from planner.validation.collectives.compare import Progress, read_collectives
from planner.validation.collectives.held_out import HALF, HARDWARE, beside
from planner.validation.collectives.nvlink import assumptions_of
from planner.validation.collectives.pricing import BANDS
from planner.validation.collectives.sweeps import FloatArray, Sweep, predictions, sorted_points
from planner.validation.points import Comparison, Labels, Point

COMMITTED = "committed calibration"

BARS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        HARDWARE: {"< 1 MiB": 0.50, "1-64 MiB": 0.30, ">= 64 MiB": 0.15},
        HALF: {"< 1 MiB": 0.30, "1-64 MiB": 0.15, ">= 64 MiB": 0.08},
    }
)
"""Median error that is allowed, by constants and band. Timings of one sweep scatter; a planner needs the large ones."""


@dataclass(frozen=True)
class BandVerdict:
    """One band of one sweep.

    Args:
        medians: of the absolute errors beyond rounding, by constants.
        biases: medians of the signed errors.
        scatter: median distance of a timing from the curve through its neighbours in size: no smooth model does better.
    """

    band: str
    n: int
    medians: Mapping[str, float]
    biases: Mapping[str, float]
    scatter: float

    @property
    def misses(self) -> dict[str, str]:
        """Why a bar is missed, by constants."""
        return {
            name: self._reason(name)
            for name, bars in BARS.items()
            if name in self.medians and self.medians[name] > bars[self.band]
        }

    def _reason(self, name: str) -> str:
        if self.scatter > BARS[HALF][self.band]:
            return f"neighbouring sizes scatter by {100 * self.scatter:.0f} %"
        return "too fast" if self.biases[name] < 0 else "too slow"


@dataclass(frozen=True)
class SweepVerdict:
    """One sweep that is long enough to be split."""

    labels: Labels
    n: int
    apart: str | None
    bands: tuple[BandVerdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; errors are fractions."""
        return {
            **self.labels,
            "n": self.n,
            "apart": self.apart,
            "bands": [
                {
                    "band": band.band,
                    "n": band.n,
                    "median_ape": dict(band.medians),
                    "bias": dict(band.biases),
                    "scatter": band.scatter,
                    "misses": band.misses,
                }
                for band in self.bands
            ],
        }


@dataclass(frozen=True)
class JudgedComparison(Comparison):
    """A comparison whose long sweeps are judged."""

    verdicts: tuple[SweepVerdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As of every comparison, and in addition ``sweeps``."""
        return {**super().to_json(), "sweeps": [verdict.to_json() for verdict in self.verdicts]}


def judge_collectives(
    paths: Sequence[str | Path],
    progress: Progress = lambda done, what: None,
    *,
    calibrated: bool = True,
) -> JudgedComparison:
    """As ``compare_collectives``, with every long sweep also by hardware constants and by its other half."""
    read = read_collectives(paths)
    count = sum(len(sweeps) for sweeps, _ in read)
    points: list[Point] = []
    assumed: dict[str, str] = {}
    verdicts: list[SweepVerdict] = []
    done = 0
    for sweeps, refused in read:
        found = list(refused)
        for sweep, seconds in predictions(sweeps, calibrated=calibrated):
            progress(done / count, f"half held out: {sweep.labels['family']}")
            others = beside(sweep)
            found += sweep.points(seconds, others)
            if others:
                verdicts.append(_verdict(sweep, {**others, COMMITTED: seconds}))
            done += 1
        points += sorted_points(found)
        assumed |= assumptions_of(sweeps)
    return JudgedComparison(tuple(points), assumed, tuple(verdicts))


def _verdict(sweep: Sweep, predicted: Mapping[str, FloatArray]) -> SweepVerdict:
    errors = {name: sweep.errors(seconds) for name, seconds in predicted.items()}
    scatters = _scatters(sweep)
    bands = []
    for band, _ in BANDS:
        rows = [row for row, timing in enumerate(sweep.timings) if timing.band == band]
        if rows:
            medians = {name: float(np.median(np.abs(found[rows]))) for name, found in errors.items()}
            biases = {name: float(np.median(found[rows])) for name, found in errors.items()}
            bands.append(BandVerdict(band, len(rows), medians, biases, float(np.median(scatters[rows]))))
    return SweepVerdict(sweep.labels, len(sweep.timings), sweep.apart, tuple(bands))


def _scatters(sweep: Sweep) -> FloatArray:
    """Distance of each time from the straight line, in logarithms, between its neighbours in size."""
    order = np.argsort(sweep.sizes, kind="stable")
    size, time = np.log(sweep.sizes[order]), np.log(sweep.measured_s[order])
    found = np.zeros(len(order))
    for row in range(1, len(order) - 1):
        around = [row - 1, row + 1]
        found[order[row]] = abs(np.expm1(time[row] - np.interp(size[row], size[around], time[around])))
    return found
