"""Where a prediction and a measured step may part: which component of the step would explain it alone, and how likely that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.calibration.steps.runs import OwnRun
from planner.costs.kernels import peak_flops
from planner.hardware.spreads import Spreads
from planner.jobs.prediction import Prediction

LEAST_SHARE = 0.002
"""Part of the step below which a component explains nothing."""

SLOWEST_LINK = 0.05
"""Part of its rate at which a link counts as broken: no slower one is taken for an explanation."""

HOST_RANGE = (0.05, 10.0)
KERNEL_RANGE = 0.2
"""Part of the peak below which matmuls of a training step are not believed (the bound of ``matmul_efficiency``)."""


@dataclass(frozen=True)
class Component:
    """One component of the step.

    Args:
        seconds: predicted.
        factor: by which it would have to be multiplied to make the prediction the measured step, None where no factor does.
        low, high: factors that are physically possible.
        distance: of the factor from 1 in standard deviations of the component's uncertainty.
    """

    name: str
    seconds: float
    factor: float | None
    low: float
    high: float
    distance: float

    @property
    def possible(self) -> bool:
        """Whether it could explain the difference alone."""
        return self.factor is not None and self.low <= self.factor <= self.high


def components(run: OwnRun, found: Prediction) -> list[Component]:
    """The components of a run's step, the likeliest explanation first."""
    difference = run.step.seconds - found.step_time_s
    spreads = run.job.cluster.spreads
    made = [
        _component(name, seconds, difference, bounds, spread)
        for name, seconds, bounds, spread in _parts(run, found, spreads)
        if seconds >= LEAST_SHARE * found.step_time_s
    ]
    return sorted(made, key=lambda component: (not component.possible, component.distance))


def _component(
    name: str, seconds: float, difference: float, bounds: tuple[float, float], spread: float
) -> Component:
    factor = (seconds + difference) / seconds
    if factor <= 0:
        return Component(name, seconds, None, *bounds, math.inf)
    return Component(name, seconds, factor, *bounds, abs(math.log(factor)) / spread)


def _parts(
    run: OwnRun, found: Prediction, spreads: Spreads
) -> Iterator[tuple[str, float, tuple[float, float], float]]:
    """Name, seconds, possible factors and spread of the logarithm of each component."""
    time = found.time
    peak = peak_flops(run.job.cluster.accelerator, run.job.training.precision)
    ideal = found.flops_per_device / peak
    yield (
        "compute",
        time.compute_s,
        (_over(ideal, time.compute_s), _slowest(ideal, time.compute_s)),
        spreads.compute,
    )
    traffic: dict[str, float] = {}
    for row in found.communication:
        traffic[row.axis] = traffic.get(row.axis, 0.0) + row.seconds
    for axis, seconds in time.exposed.items():
        high = _over(max(traffic.get(axis, 0.0), seconds) / SLOWEST_LINK, seconds)
        yield f"exposed {axis}", seconds, (0.0, high), spreads.communication
    yield "host", time.host_s, HOST_RANGE, spreads.host
    yield "optimizer", time.optimizer_s, (0.2, 5.0), spreads.optimizer
    yield "bubble", time.bubble_s, (0.2, 5.0), spreads.bubble


def _over(above: float, below: float) -> float:
    return above / below if below > 0 else 0.0


def _slowest(ideal: float, seconds: float) -> float:
    return max(_over(ideal / KERNEL_RANGE, seconds), 1.0)


@dataclass(frozen=True)
class TimedPart:
    """Part of the step that the framework's own timers measured."""

    name: str
    measured_s: float
    predicted_s: float


_WORK = (
    ("forward-compute", "backward-compute"),
    ("forward", "backward-backward"),
    ("forward", "backward_inner"),
)
_WHOLE = (("forward-backward",),)
_OPTIMIZER = (("optimizer",), ("step",), ("optimizer_step",))
_TRAFFIC = (
    ("all-grads-sync", "params-all-gather"),
    ("grads-reduce-scatter", "params-all-gather"),
    ("grads-all-reduce",),
    ("all-grads-sync",),
    ("backward-allreduce",),
    ("backward_allreduce",),
    ("backward-params-all-reduce",),
)


def timed_parts(timers: Mapping[str, float], found: Prediction) -> list[TimedPart]:
    """What the timers of Megatron-LM and DeepSpeed say beside the prediction of the busiest rank.

    Work is kernels, waiting for the host and the traffic between them (tp, cp, ep); the pipeline is what a rank's
    forward-backward pass takes beyond its work.
    """
    time = found.time
    exposed = time.exposed
    work = time.compute_s + time.host_s + sum(exposed[axis] for axis in ("tp", "cp", "ep", "etp"))
    measured = _first(timers, _WORK)
    parts = [
        ("work of the passes", measured, work),
        ("gradients and parameters", _first(timers, _TRAFFIC), exposed["dp"] + exposed["edp"]),
        ("optimizer", _first(timers, _OPTIMIZER), time.optimizer_s),
    ]
    whole = _first(timers, _WHOLE)
    if whole is not None and measured is not None:
        parts.append(("pipeline", max(whole - measured, 0.0), time.bubble_s + exposed["pp"]))
    return [TimedPart(name, seconds, predicted) for name, seconds, predicted in parts if seconds is not None]


def _first(timers: Mapping[str, float], choices: tuple[tuple[str, ...], ...]) -> float | None:
    for names in choices:
        if all(name in timers for name in names):
            return sum(timers[name] for name in names)
    return None
