"""Errors of published runs without one effect at a time: with all constants kept, and with the others fitted again."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.calibration.fit.constants import members_of
from planner.calibration.fit.folds import REACH, left_out, model_folds
from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import FloatArray, Problem, Progress
from planner.calibration.fit.result import GroupErrors, group_errors
from planner.calibration.fit.solve import Fit, Linear, best_of_linear
from planner.hardware.calibration import Calibration
from planner.validation.ablation.effects import Effect
from planner.validation.runs.groups import SMALLEST_FOR_MEDIAN
from planner.validation.runs.statistics import mean_of

VISIBLE_MACRO = 0.001
"""Rise of the left-out macro error from which an effect visibly helps ..."""

VISIBLE_GROUP = 0.01
"""... or of the left-out mean error of one group."""


@dataclass(frozen=True)
class Errors:
    """Mean errors of one group, and of all groups of three votes or more together (their mean)."""

    kept: float
    refit: float
    left_out: float


@dataclass(frozen=True)
class Ablation:
    """The model without one effect.

    Args:
        effect: None for the whole model.
        groups: by (family, accelerator); macro: their mean, one vote each.
    """

    effect: Effect | None
    groups: dict[tuple[str, str], Errors]
    macro: Errors

    def hit(self, whole: Ablation) -> tuple[tuple[str, str], float]:
        """The group whose left-out error rises most without the effect, and by how much."""
        rises = {key: errors.left_out - whole.groups[key].left_out for key, errors in self.groups.items()}
        worst = max(rises, key=lambda key: rises[key])
        return worst, rises[worst]

    def visible(self, whole: Ablation) -> bool:
        """Whether left-out errors are visibly worse without the effect."""
        rise = self.macro.left_out - whole.macro.left_out
        return rise >= VISIBLE_MACRO or self.hit(whole)[1] >= VISIBLE_GROUP


def position_of(problem: Problem, calibration: Calibration) -> FloatArray:
    """The position at the constants of a calibration; what it does not hold stays a prior."""
    position = []
    for constant in problem.constants:
        kind, _, name = constant.key
        fitted = calibration.values(kind, members_of(constant.key)[0])
        position.append(constant.position(fitted.get(name, constant.prior)))
    return np.array(position)


def ablate(
    problem: Problem,
    position: FloatArray,
    effects: Sequence[Effect],
    *,
    stiffness: float,
    workers: int | None = None,
    progress: Progress = lambda done, message: None,
) -> list[Ablation]:
    """The whole model, then without each effect.

    Constants are fitted again to first order: by the slopes of the whole model, scaled to what is left of the step, those
    of the effect's own constants taken as none; the rows are then predicted by the model without the effect.

    Args:
        position: of the constants. stiffness: of priors when they are fitted again, and when models are left out.
        workers: processes, None for one per core.
    """
    total = len(effects) + 2
    seconds, slopes = Predictor(problem, workers).slopes(
        position, lambda done, message: progress(done / total, message)
    )
    result = []
    for done, effect in enumerate((None, *effects)):
        progress((done + 1) / total, "whole model" if effect is None else f"without {effect.name}")
        result.append(_without(problem, Linear(position, seconds, slopes), effect, stiffness, workers))
    return result


def _without(
    problem: Problem, whole: Linear, effect: Effect | None, stiffness: float, workers: int | None
) -> Ablation:
    less, linear = problem, whole
    if effect is not None:
        less = without_effect(problem, effect)
        kept = Predictor(less, workers).seconds(whole.position)
        linear = Linear(whole.position, kept, _slopes(problem, whole, effect, kept))
    goal = best_of_linear(less, linear, less.weights, stiffness, REACH)
    refit = Predictor(less, workers).seconds(goal)
    fit = Fit(Linear(goal, refit, linear.slopes), linear.seconds, ())
    out = left_out(less, fit, model_folds(less), stiffness, method="linear", workers=workers)
    groups = group_errors(less, fit, out, None)
    return Ablation(effect, {(g.family, g.accelerator): _errors(g) for g in groups}, _macro(groups))


def without_effect(problem: Problem, effect: Effect) -> Problem:
    """The problem priced without an effect."""
    return replace(problem, batches=tuple(replace(batch, price=effect.seconds) for batch in problem.batches))


def _slopes(problem: Problem, whole: Linear, effect: Effect, kept: FloatArray) -> FloatArray:
    """Slopes of log seconds without the effect: a constant moves the same seconds of a shorter step."""
    slopes = (
        whole.slopes * np.exp(whole.seconds - kept)[:, None] if effect.part is None else whole.slopes.copy()
    )
    for index, constant in enumerate(problem.constants):
        if any(fnmatch.fnmatchcase(constant.key.name, pattern) for pattern in effect.constants):
            slopes[:, index] = 0.0
    return np.asarray(slopes)


def _errors(group: GroupErrors) -> Errors:
    """``priors`` holds the kept constants here."""
    left = group.model_out
    return Errors(group.priors.mean_ape, group.in_sample.mean_ape, left.mean_ape if left else np.nan)


def _macro(groups: Sequence[GroupErrors]) -> Errors:
    found = [_errors(group) for group in groups if group.votes >= SMALLEST_FOR_MEDIAN] or [
        _errors(group) for group in groups
    ]
    columns = ([getattr(e, name) for e in found] for name in ("kept", "refit", "left_out"))
    return Errors(*(mean_of(column) or 0.0 for column in columns))
