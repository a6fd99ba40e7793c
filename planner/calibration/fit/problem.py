"""Published runs as a least-squares problem: batches to predict, rows to compare, constants to fit, weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Constant, Key, constant
from planner.calibration.fit.scopes import at_priors, constants_of
from planner.costs.evaluate import step_times
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts, from_layouts
from planner.validation.runs.express import Expressed, Variant, express
from planner.validation.runs.measured import measured_seconds
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RunRow
from planner.validation.runs.sets import shared_by
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.votes import Votes

FloatArray = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Batch:
    """Readings that share their job: priced together.

    Args:
        constants: positions in ``Problem.constants`` of what they depend on.
        price: step times of layouts of a job.
    """

    job: Job
    layouts: Layouts
    constants: tuple[int, ...]
    price: Callable[[Job, Layouts], FloatArray] = step_times


@dataclass(frozen=True)
class Measurement:
    """One row that measured a step time.

    Args:
        group: (family, accelerator); model: width, heads and experts, whatever the depth; shape: sequence and degrees.
        vote: equal for rows that share one.
        places: (batch, row in it) of every reading.
        peers: equal for rows that differ in layout only.
    """

    id: str
    group: tuple[str, str]
    model: Hashable
    shape: Hashable
    vote: Hashable
    seconds: float
    places: tuple[tuple[int, int], ...]
    peers: Hashable = None


@dataclass(frozen=True)
class Problem:
    """Everything that the fit needs.

    Args:
        weights: of each measurement in the sum of squares, shape (measurements,).
    """

    batches: tuple[Batch, ...]
    measurements: tuple[Measurement, ...]
    constants: tuple[Constant, ...]
    weights: FloatArray

    def depends(self) -> NDArray[np.bool_]:
        """Which measurement depends on which constant, shape (measurements, constants)."""
        result = np.zeros((len(self.measurements), len(self.constants)), dtype=np.bool_)
        for index, measurement in enumerate(self.measurements):
            for batch, _ in measurement.places:
                result[index, list(self.batches[batch].constants)] = True
        return result


def build_problem(
    rows: Sequence[RunRow], votes: Votes, progress: Progress = lambda done, message: None
) -> Problem:
    """The problem of all complete rows that measured a time and are not doubtful.

    Args:
        votes: rows scored apart and rows that share a vote.
    """
    rows = [votes.corrected(row) for row in rows]
    shelf = Shelf()
    collected: dict[Hashable, list[Variant]] = {}
    found: list[tuple[RunRow, float, list[tuple[Hashable, int]]]] = []
    for index, row in enumerate(rows):
        progress(index / len(rows), "reading rows as jobs")
        timed = usable(row, votes, shelf) if row.complete else None
        if timed is None:
            continue
        expressed, seconds = timed
        places: list[tuple[Hashable, int]] = []
        for variant in expressed.variants:
            batch = collected.setdefault(variant.key, [])
            places.append((variant.key, len(batch)))
            batch.append(variant)
        found.append((row, seconds, places))
    return _assembled(found, collected, votes, shelf)


def usable(row: RunRow, votes: Votes, shelf: Shelf) -> tuple[Expressed, float] | None:
    """A row with the seconds that it measured; None where these are in doubt, are not stated, or cannot be expressed."""
    if votes.doubt(row, "time"):
        return None
    try:
        expressed = express(row, shelf)
        seconds = measured_seconds(row, expressed.variants[0].job)
    except Refused:
        return None
    return None if seconds is None or expressed.untimed is not None else (expressed, seconds)


def _assembled(
    found: Sequence[tuple[RunRow, float, list[tuple[Hashable, int]]]],
    collected: Mapping[Hashable, list[Variant]],
    votes: Votes,
    shelf: Shelf,
) -> Problem:
    order = {key: index for index, key in enumerate(collected)}
    constants: dict[Key, tuple[int, Constant]] = {}
    batches: list[Batch] = []
    for variants in collected.values():
        layouts = from_layouts([variant.layout for variant in variants])
        job = at_priors(variants[0].job, shelf.once)
        mine: list[int] = []
        for key, prior in constants_of(job, layouts):
            made = constant(key, prior)
            if made is not None:
                mine.append(constants.setdefault(key, (len(constants), made))[0])
        batches.append(Batch(job, layouts, tuple(dict.fromkeys(mine))))
    measurements = tuple(
        Measurement(
            id=row.id,
            group=(votes.family(row), row.hardware.accelerator),
            model=_model_of(row),
            shape=(row.model.hidden, row.model.seq_len, row.layout.tp, row.layout.pp),
            vote=votes.cell(row) or row.id,
            seconds=seconds,
            places=tuple((order[key], place) for key, place in places),
            peers=shared_by(row, votes.family(row)),
        )
        for row, seconds, places in found
    )
    weights = vote_weights(measurements)
    return Problem(tuple(batches), measurements, tuple(made for _, made in constants.values()), weights)


def _model_of(row: RunRow) -> Hashable:
    model = row.model
    return model.hidden, model.ffn_hidden, model.heads, model.moe.experts if model.moe else None


def vote_weights(measurements: Sequence[Measurement]) -> FloatArray:
    """Weights by which a group of n votes counts as sqrt(n): no source of many rows drowns the others; rows that share
    a vote share its weight."""
    rows = Counter((m.group, m.vote) for m in measurements)
    votes = Counter(group for group, _ in rows)
    return np.array([1.0 / math.sqrt(votes[m.group]) / rows[m.group, m.vote] for m in measurements])
