"""Predicted seconds of every measurement, and their slopes, with the batches shared out among processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.calibration.fit.constants import Constant
from planner.calibration.fit.problem import Batch, FloatArray, Measurement, Problem, Progress
from planner.calibration.fit.processes import shared_out
from planner.calibration.fit.scopes import with_values
from planner.costs.prices import price_model
from planner.jobs.types import Job
from planner.validation.runs.uncertainty import shares_of, step_and_parts

STEP = 0.03
"""Finite difference, in logarithms or log-odds: wide enough to smooth the corners of maxima."""


def batch_seconds(batch: Batch, constants: Sequence[Constant], positions: FloatArray) -> FloatArray:
    """Log seconds of a batch's rows at given positions of all constants."""
    return np.log(batch.price(_job_at(batch, constants, positions), batch.layouts))


def _job_at(batch: Batch, constants: Sequence[Constant], positions: FloatArray) -> Job:
    values = {constants[i].key: constants[i].value(float(positions[i])) for i in batch.constants}
    return with_values(batch.job, values)


def batch_shares(batch: Batch, constants: Sequence[Constant], positions: FloatArray) -> dict[str, FloatArray]:
    """Share of each part of the step of a batch's rows, shape (rows,)."""
    job = _job_at(batch, constants, positions)
    rows = price_model(job, batch.layouts).rows(batch.layouts)
    return shares_of(step_and_parts(job, batch.layouts, rows)[1])


def batch_slopes(
    batch: Batch, constants: Sequence[Constant], positions: FloatArray, base: FloatArray
) -> FloatArray:
    """Derivatives of a batch's log seconds by its own constants, shape (rows, constants of the batch)."""
    columns = []
    for index in batch.constants:
        moved = positions.copy()
        moved[index] += STEP
        columns.append((batch_seconds(batch, constants, moved) - base) / STEP)
    return np.stack(columns, axis=1) if columns else np.zeros((len(base), 0))


def seconds_of(problem: Problem, rows: Sequence[int], positions: FloatArray) -> FloatArray:
    """Log seconds of some measurements, shape (rows,), in this process; other batches are not priced."""
    chosen = [problem.measurements[row] for row in rows]
    needed = {batch for measurement in chosen for batch, _ in measurement.places}
    bases = {batch: batch_seconds(problem.batches[batch], problem.constants, positions) for batch in needed}
    return np.array([_middle(measurement, bases)[0] for measurement in chosen])


def _middle(measurement: Measurement, bases: Mapping[int, FloatArray]) -> tuple[float, set[tuple[int, int]]]:
    """Log seconds of a row: the middle of its lowest and highest reading; and which these are."""
    places = sorted(measurement.places, key=lambda place: float(bases[place[0]][place[1]]))
    ends = {places[0], places[-1]}
    return sum(float(bases[batch][place]) for batch, place in ends) / len(ends), ends


@dataclass(frozen=True)
class Predictor:
    """Log seconds of all measurements of a problem at any position of its constants.

    Args:
        workers: processes, None for one per core.
    """

    problem: Problem
    workers: int | None = None

    def seconds(self, positions: FloatArray) -> FloatArray:
        """Log seconds, shape (measurements,); a row with several readings counts as the middle of its extremes."""
        bases = dict(shared_out(lambda index: self._base(index, positions), self._count, self.workers))
        return np.array([_middle(measurement, bases)[0] for measurement in self.problem.measurements])

    def slopes(
        self, positions: FloatArray, progress: Progress = lambda done, message: None
    ) -> tuple[FloatArray, FloatArray]:
        """Log seconds, and their derivatives by every constant, shape (measurements, constants)."""
        problem = self.problem
        bases: dict[int, FloatArray] = {}
        grids: dict[int, FloatArray] = {}
        for index, (base, slopes) in shared_out(
            lambda index: self._slopes(index, positions), self._count, self.workers
        ):
            bases[index], grids[index] = base, np.zeros((len(base), len(problem.constants)))
            grids[index][:, list(problem.batches[index].constants)] = slopes
            progress(len(bases) / self._count, "pricing batches")
        seconds = np.zeros(len(problem.measurements))
        jacobian = np.zeros((len(problem.measurements), len(problem.constants)))
        for row, measurement in enumerate(problem.measurements):
            seconds[row], ends = _middle(measurement, bases)
            jacobian[row] = np.sum([grids[batch][place] for batch, place in ends], axis=0) / len(ends)
        return seconds, jacobian

    @property
    def _count(self) -> int:
        return len(self.problem.batches)

    def _base(self, index: int, positions: FloatArray) -> FloatArray:
        return batch_seconds(self.problem.batches[index], self.problem.constants, positions)

    def _slopes(self, index: int, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        base = self._base(index, positions)
        return base, batch_slopes(self.problem.batches[index], self.problem.constants, positions, base)
