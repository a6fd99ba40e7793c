"""How far fitted predictions are off what was measured, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.hardware.calibration_files import Calibration


@dataclass(frozen=True)
class Residual:
    """One point after the fit."""

    kind: str
    subject: str
    measured_s: float
    predicted_s: float
    noisy: bool

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_s / self.measured_s - 1.0


@dataclass(frozen=True)
class MeasuredFit:
    """A calibration fitted to measurements, and how far its predictions are off the points."""

    calibration: Calibration
    residuals: tuple[Residual, ...]


@dataclass(frozen=True)
class KindErrors:
    """Errors of the points of one kind.

    Args:
        median: of the absolute errors; bias: median of the signed ones.
        worst: the point that is furthest off.
        noisy: points whose measurements scatter.
    """

    kind: str
    points: int
    median: float
    bias: float
    worst: Residual
    noisy: int


def errors_by_kind(residuals: Sequence[Residual]) -> list[KindErrors]:
    """One row per kind, in the order of the points."""
    rows = []
    for kind in dict.fromkeys(residual.kind for residual in residuals):
        mine = [residual for residual in residuals if residual.kind == kind]
        errors = np.array([residual.error for residual in mine])
        rows.append(
            KindErrors(
                kind,
                len(mine),
                float(np.median(np.abs(errors))),
                float(np.median(errors)),
                max(mine, key=lambda residual: abs(residual.error)),
                sum(residual.noisy for residual in mine),
            )
        )
    return rows
