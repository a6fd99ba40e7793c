"""Predicted seconds of every measurement, and their slopes, with the batches shared out among processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType

import numpy as np

from planner.calibration.fit.constants import Constant
from planner.calibration.fit.problem import Batch, FloatArray, Problem, Progress
from planner.calibration.fit.scopes import with_values
from planner.costs.evaluate import step_times

STEP = 0.03
"""Finite difference, in logarithms or log-odds: wide enough to smooth the corners of maxima."""

Answer = tuple[int, FloatArray, FloatArray | None]


def batch_seconds(batch: Batch, constants: Sequence[Constant], positions: FloatArray) -> FloatArray:
    """Log seconds of a batch's rows at given positions of all constants."""
    values = {constants[i].key: constants[i].value(float(positions[i])) for i in batch.constants}
    return np.log(step_times(with_values(batch.job, values), batch.layouts))


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


def _serve(pipe: Connection, batches: Sequence[tuple[int, Batch]], constants: Sequence[Constant]) -> None:
    """A worker: answers requests for its batches until None comes."""
    while (request := pipe.recv()) is not None:
        positions, slopes = request
        for index, batch in batches:
            base = batch_seconds(batch, constants, positions)
            pipe.send((index, base, batch_slopes(batch, constants, positions, base) if slopes else None))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    batches: int


class Predictor:
    """Log seconds of a problem's measurements at any position of its constants; a context that owns its processes."""

    def __init__(self, problem: Problem, workers: int | None = None) -> None:
        self.problem = problem
        self._count = max(1, (os.cpu_count() or 1) if workers is None else workers)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Predictor:
        numbered = sorted(enumerate(self.problem.batches), key=lambda item: -_load(item[1]))
        if "fork" in multiprocessing.get_all_start_methods() and self._count > 1:
            context = multiprocessing.get_context("fork")
            for first in range(self._count):
                mine = numbered[first :: self._count]
                here, there = context.Pipe()
                process = context.Process(
                    target=_serve, args=(there, mine, self.problem.constants), daemon=True
                )
                process.start()
                there.close()
                self._workers.append(_Worker(process, here, len(mine)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if kind is None:
                worker.pipe.send(None)
            else:
                worker.process.terminate()
            worker.process.join()
        self._workers.clear()

    def seconds(self, positions: FloatArray) -> FloatArray:
        """Log seconds, shape (measurements,); a row with several readings counts as the middle of its extremes."""
        return self._answer(positions, slopes=False)[0]

    def slopes(
        self, positions: FloatArray, progress: Progress = lambda done, message: None
    ) -> tuple[FloatArray, FloatArray]:
        """Log seconds, and their derivatives by every constant, shape (measurements, constants)."""
        return self._answer(positions, slopes=True, progress=progress)

    def _answer(
        self,
        positions: FloatArray,
        *,
        slopes: bool,
        progress: Progress = lambda done, message: None,
    ) -> tuple[FloatArray, FloatArray]:
        problem = self.problem
        bases: dict[int, FloatArray] = {}
        grids: dict[int, FloatArray] = {}
        for index, base, slope in self._results(positions, slopes):
            bases[index] = base
            if slope is not None:
                whole = np.zeros((len(base), len(problem.constants)))
                whole[:, list(problem.batches[index].constants)] = slope
                grids[index] = whole
            progress(len(bases) / len(problem.batches), "pricing batches")
        seconds = np.zeros(len(problem.measurements))
        jacobian = np.zeros((len(problem.measurements), len(problem.constants)))
        for row, measurement in enumerate(problem.measurements):
            places = sorted(measurement.places, key=lambda place: float(bases[place[0]][place[1]]))
            ends = {places[0], places[-1]}
            seconds[row] = sum(bases[b][i] for b, i in ends) / len(ends)
            if slopes:
                jacobian[row] = np.sum([grids[b][i] for b, i in ends], axis=0) / len(ends)
        return seconds, jacobian

    def _results(self, positions: FloatArray, slopes: bool) -> Iterator[Answer]:
        """(batch, log seconds, slopes) in any order."""
        if not self._workers:
            for index, batch in enumerate(self.problem.batches):
                base = batch_seconds(batch, self.problem.constants, positions)
                slope = batch_slopes(batch, self.problem.constants, positions, base) if slopes else None
                yield index, base, slope
            return
        for worker in self._workers:
            worker.pipe.send((positions, slopes))
        for worker in self._workers:
            for _ in range(worker.batches):
                yield worker.pipe.recv()


def _load(batch: Batch) -> int:
    return len(batch.constants) * (8 + len(batch.layouts))
