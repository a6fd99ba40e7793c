"""The best stages of a problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solvers.stages.cuts import best_cuts
from planner.solvers.stages.instance import Floats, Ints, StageProblem
from planner.solvers.stages.table import inner_choice


@dataclass(frozen=True, eq=False)
class StagePlan:
    """Layers and modes of each stage.

    Args:
        cuts: (S + 1,) stage s holds layers ``cuts[s]`` .. ``cuts[s + 1]`` - 1.
        modes: (L,) mode of each layer.
        seconds: (S,) of each stage per micro-batch, forward and backward.
        bytes: (S,) of each stage.
        once_s: (S,) of each stage, once per step.
        step_s: max over stages of ((m - 1) seconds + once) + sum of seconds.
    """

    cuts: Ints
    modes: Ints
    seconds: Floats
    bytes: Floats
    once_s: Floats
    step_s: float

    @property
    def layers_per_stage(self) -> tuple[int, ...]:
        return tuple(np.diff(self.cuts).tolist())


def best_stages(problem: StageProblem) -> StagePlan | None:
    """The cut and the modes with the shortest step, exactly; None when no cut fits."""
    inner = inner_choice(problem)
    cuts = best_cuts(inner.table())
    if cuts is None:
        return None
    bounds = cuts.tolist()
    runs = zip(range(problem.stages), bounds[:-1], bounds[1:], strict=True)
    modes = np.concatenate([inner.modes(*run) for run in runs])
    return priced(problem, cuts, modes)


def priced(problem: StageProblem, cuts: Ints, modes: Ints) -> StagePlan:
    """Any cut and modes with what they cost, whether they fit or not."""
    stage = np.repeat(np.arange(problem.stages), np.diff(cuts))
    device, kind = problem.stage_class[stage], problem.layers

    def summed(weights: Floats) -> Floats:
        return np.bincount(stage, weights, problem.stages).astype(np.float64)

    seconds = summed(problem.seconds[device, kind, modes]) + problem.fixed_s
    kept = summed(problem.kept_bytes[device, kind, modes])
    static, once = (summed(part[device, kind]) for part in (problem.static_bytes, problem.once_s))
    once = once + problem.fixed_once_s
    held = problem.fixed_bytes + static + problem.in_flight * kept
    slowest = (problem.micro_batches - 1) * seconds + once
    return StagePlan(cuts, modes, seconds, held, once, float(slowest.max() + seconds.sum()))
