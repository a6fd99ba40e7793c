"""Sources of which no row could be fitted, since all of them leave settings open: how far predictions are off there.

Left-out families are sources that the constants have not seen, but their software and sites were chosen for the fit because
they say everything. These were not; what they leave open is read in every way it may have been.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from planner.calibration.fit.constants import Key
from planner.calibration.fit.problem import FloatArray, Problem, usable
from planner.calibration.fit.scopes import at_priors, constants_of, with_values
from planner.calibration.fit.spreads import Unfitted, counts, support_by
from planner.costs.uncertainty import PARTS, Support
from planner.jobs.framework import FRAMEWORKS
from planner.jobs.types import Job
from planner.layouts.layouts import from_layouts
from planner.validation.runs.express import Expressed
from planner.validation.runs.predicting import answer
from planner.validation.runs.readings import Reading
from planner.validation.runs.rows import RunRow
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.votes import Votes


@dataclass(frozen=True)
class _Open:
    """A row that leaves settings open, with its family and its measured seconds."""

    expressed: Expressed
    family: str
    seconds: float


def unfitted_errors(
    rows: Sequence[RunRow], votes: Votes, problem: Problem, position: FloatArray
) -> Unfitted | None:
    """Errors of the rows' sources that are not in the problem; None when there are none.

    Args:
        position: of the problem's constants, by which the rows are predicted.
    """
    shelf = Shelf()
    seen = {measurement.group[0] for measurement in problem.measurements}
    corrected = [votes.corrected(row) for row in rows]
    chosen = [item for row in corrected if (item := _open(row, votes, seen, shelf)) is not None]
    values = {c.key: c.value(float(at)) for c, at in zip(problem.constants, position, strict=True)}
    stated: dict[Hashable, Job] = {v.key: v.job for item in chosen for v in item.expressed.variants}
    priors = {key: at_priors(job, shelf.once) for key, job in stated.items()}
    jobs = {key: with_values(job, values) for key, job in priors.items()}
    answers = answer([_with_jobs(item.expressed, jobs) for item in chosen])
    found = [(item, answered.readings) for item, answered in zip(chosen, answers, strict=True)]
    return _collected([(item, readings) for item, readings in found if readings], priors, values.keys())


def _open(row: RunRow, votes: Votes, seen: AbstractSet[str], shelf: Shelf) -> _Open | None:
    """The row, if its source was not fitted and its readings can be trusted to hold what ran: of a model whose widths are
    not told they are guesses by its name."""
    family = votes.family(row)
    found = None if row.complete or family in seen else usable(row, votes, shelf)
    if found is None or any("model" in variant.setting for variant in found[0].variants):
        return None
    return _Open(found[0], family, found[1])


def _with_jobs(item: Expressed, jobs: Mapping[Hashable, Job]) -> Expressed:
    return replace(item, variants=tuple(replace(v, job=jobs[v.key]) for v in item.variants))


def _collected(
    found: Sequence[tuple[_Open, Sequence[Reading]]],
    priors: Mapping[Hashable, Job],
    fitted: AbstractSet[Key],
) -> Unfitted | None:
    if not found:
        return None
    errors, supports, parts = [], [], []
    for item, readings in found:
        told = item.expressed.row.framework in FRAMEWORKS
        for reading in readings:
            errors.append(np.log(reading.step_time_s / item.seconds))
            supports.append(_support(reading, priors[reading.variant.key], fitted, told))
            parts.append([reading.parts[part] for part in PARTS])
    shares = np.array(parts) / np.sum(parts, axis=1, keepdims=True)
    lengths = [len(readings) for _, readings in found]
    return Unfitted(
        np.array(errors),
        counts(supports, dict(zip(PARTS, shares.T, strict=True))),
        np.cumsum([0, *lengths[:-1]]),
        tuple(item.family for item, _ in found),
    )


def _support(reading: Reading, job: Job, fitted: AbstractSet[Key], told: bool) -> Support:
    """What of a reading was fitted; under a profile that stands in for software without one, nothing of the profile."""
    layouts = from_layouts([reading.variant.layout])
    support = support_by(job, [(key, key in fitted) for key, _ in constants_of(job, layouts)])
    return replace(support, framework=support.framework and told)
