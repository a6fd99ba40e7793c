"""The few constants of a framework, and of a chip and links where layouts differ, from a user's own runs.

The fit starts from the constants that the job uses now and is pulled back to them, by the priors, bounds and search of
``plan calibrate fit`` (docs/calibration.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Constant, Key, constant
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import Batch, Measurement, Problem, vote_weights
from planner.calibration.fit.result import LEAST_RESPONSE, at_bound, calibration_of
from planner.calibration.fit.scopes import constants_of
from planner.calibration.fit.solve import solve, spreads
from planner.calibration.steps.runs import OwnRun
from planner.hardware.calibration import Calibration, ScopeKind, applied_calibration
from planner.jobs.framework import EXPERT_FACTOR, HOST_FACTOR
from planner.jobs.types import Job
from planner.layouts.layouts import from_layouts

Progress = Callable[[float, str], None]
FloatArray = NDArray[np.float64]

SEVERAL = 2
"""Layouts from which a chip's and links' constants are fitted as well: one layout cannot tell them from a framework's."""

NOISE = 0.03
"""Log error of a measured step: the same configuration, run by a later release, differs by as much in the median. Moving a
constant by one spread of its prior is as dear as this error in every run."""

LEAST_MOVE = 0.05
"""A constant that the fit leaves this close to where it was, in spreads, is not written: the value before stands."""

FAR = 2.0
"""Spreads of its prior beyond which a constant is farther from other runs than a framework explains."""

ALIKE = 0.97
"""Cosine of two constants' effects on all runs from which the runs cannot tell them apart."""

_SECTIONS: Mapping[ScopeKind, str] = {
    "accelerator": "accelerators",
    "architecture": "architectures",
    "attention": "attention",
    "network": "networks",
    "framework": "frameworks",
}


@dataclass(frozen=True)
class Moved:
    """One constant.

    Args:
        before, after: values. spreads: its move in spreads of its prior.
        left: part of its prior's uncertainty that the runs leave, 1 where they say nothing of it.
    """

    key: Key
    before: float
    after: float
    spreads: float
    left: float
    at_bound: bool

    @property
    def far(self) -> bool:
        """Whether a setting of the job is a likelier reason than the constant."""
        return self.at_bound or abs(self.spreads) > FAR


@dataclass(frozen=True)
class StepsFit:
    """What the runs teach.

    Args:
        before, after: predicted seconds of every run.
        moved: constants that the runs respond to; calibration: those that the fit moved.
        alike: constants whose effects the runs cannot tell apart.
    """

    before: FloatArray
    after: FloatArray
    moved: tuple[Moved, ...]
    alike: tuple[tuple[Key, ...], ...]
    calibration: Calibration


def fit_steps(
    runs: Sequence[OwnRun],
    files: Sequence[Path],
    name: str = "steps",
    progress: Progress = lambda done, message: None,
) -> StepsFit:
    """Constants fitted to runs, one vote each."""
    problem = _problem(runs)
    fit = solve(Predictor(problem, workers=1), stiffness=NOISE, renewals=3, progress=progress)
    bounds = set(at_bound(problem, fit))
    effects = fit.linear.slopes * spreads(problem)
    left = _left(effects)
    moved = tuple(
        Moved(
            key=made.key,
            before=made.prior,
            after=made.value(float(position)),
            spreads=float((position - made.centre) / made.spread),
            left=float(left[index]),
            at_bound=made.key in bounds,
        )
        for index, (made, position) in enumerate(zip(problem.constants, fit.linear.position, strict=True))
        if np.abs(effects[:, index]).max() >= LEAST_RESPONSE
    )
    whole = _absolute(calibration_of(problem, fit, name, data_digest(files)), runs[0].job)
    calibration = _moved_only(whole, {made.key for made in moved if abs(made.spreads) >= LEAST_MOVE})
    return StepsFit(
        before=np.exp(fit.prior_seconds),
        after=np.exp(fit.linear.seconds),
        moved=moved,
        alike=_alike(problem, effects),
        calibration=calibration.model_copy(update={"data": "steps"}),
    )


def _problem(runs: Sequence[OwnRun]) -> Problem:
    several = len({run.layout for run in runs}) >= SEVERAL
    members: dict[int, list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        members[id(run.job)].append(index)
    constants: dict[Key, tuple[int, Constant]] = {}
    batches: list[Batch] = []
    places: dict[int, tuple[int, int]] = {}
    for indices in members.values():
        job = runs[indices[0]].job
        layouts = from_layouts([runs[index].layout for index in indices])
        mine = []
        for key, prior in constants_of(job, layouts):
            made = constant(key, _current(job, key, prior))
            if made is not None and (several or key.kind == "framework"):
                mine.append(constants.setdefault(key, (len(constants), made))[0])
        places |= {index: (len(batches), place) for place, index in enumerate(indices)}
        batches.append(Batch(job, layouts, tuple(dict.fromkeys(mine))))
    measurements = tuple(
        Measurement(
            id=run.name,
            group=(run.name, run.job.cluster.accelerator.name),
            model=run.job.model.name,
            shape=None,
            vote=index,
            seconds=run.step.seconds,
            places=(places[index],),
        )
        for index, run in enumerate(runs)
    )
    chosen = tuple(made for _, made in constants.values())
    return Problem(tuple(batches), measurements, chosen, vote_weights(measurements))


def _current(job: Job, key: Key, prior: float) -> float:
    """The value that the job uses now; links without a fitted one start from the prior."""
    if key.kind != "network":
        return prior
    rates = {level.kind: level.in_step_efficiency for level in job.cluster.network}
    return rates[key.scope] if rates.get(key.scope, 1.0) < 0.995 else prior


def _left(effects: FloatArray) -> FloatArray:
    """Standard deviation of every constant after the runs, in spreads of its prior (linear, normal errors)."""
    information = effects.T @ effects / NOISE**2
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(information + np.eye(len(information))))))


def _alike(problem: Problem, effects: FloatArray) -> tuple[tuple[Key, ...], ...]:
    """Groups of constants whose effects are parallel."""
    sizes = np.linalg.norm(effects, axis=0)
    chosen = [i for i in range(effects.shape[1]) if np.abs(effects[:, i]).max() >= LEAST_RESPONSE]
    groups: list[list[int]] = []
    for index in chosen:
        for group in groups:
            first = group[0]
            cosine = abs(float(effects[:, index] @ effects[:, first])) / (sizes[index] * sizes[first])
            if cosine >= ALIKE:
                group.append(index)
                break
        else:
            groups.append([index])
    return tuple(tuple(problem.constants[i].key for i in group) for group in groups if len(group) > 1)


def _moved_only(found: Calibration, keys: set[Key]) -> Calibration:
    """The calibration with those constants, and without scopes that hold none."""
    update = {}
    for kind, scopes in found.sections().items():
        kept = {
            name: {c: figure for c, figure in scope.constants.items() if Key(kind, name, c) in keys}
            for name, scope in scopes.items()
        }
        update[_SECTIONS[kind]] = {
            name: scope.model_copy(update={"constants": kept[name]})
            for name, scope in scopes.items()
            if kept[name]
        }
    return found.model_copy(update=update)


def _absolute(found: Calibration, job: Job) -> Calibration:
    """Factors on host work over what the profile states, as calibration files have them: the fit moved them from what the
    job uses now."""
    if job.cluster.calibration is None:
        return found
    used = applied_calibration(Path(job.cluster.calibration))
    frameworks = {}
    for scope_name, scope in found.frameworks.items():
        known = used.values("framework", scope_name)
        constants = dict(scope.constants)
        for name in (HOST_FACTOR, EXPERT_FACTOR):
            if name in constants and name in known:
                figure, now = constants[name], known[name]
                update = {
                    "value": float(f"{min(figure.value * now, figure.upper):.5g}"),
                    "prior": float(f"{now:.5g}"),
                }
                constants[name] = figure.model_copy(update=update)
        frameworks[scope_name] = scope.model_copy(update={"constants": constants})
    return found.model_copy(update={"frameworks": frameworks})
