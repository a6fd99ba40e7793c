"""Why the simulated step differs from the closed form's: one effect after the other is switched on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from planner.simulator.options import SimulationOptions
from planner.simulator.simulation import Simulation, simulate

ORDER = "exact order of passes, hops and traffic"
NO_SLOWDOWN = "overlap slow-down switched off"
SHARING = "transfers that share links"
LENGTHS = "micro-batches of their own lengths"
PERTURBATIONS = "slow devices and links, spread, jitter"


@dataclass(frozen=True)
class Cause:
    """One effect and the seconds that it adds to the step; below zero it shortens it."""

    name: str
    seconds: float


def causes(
    simulation: Simulation, estimate_s: float, progress: Callable[[float, str], None] | None = None
) -> tuple[Cause, ...]:
    """The difference to an estimate, shared out.

    The simulation is repeated with every effect off that the closed form does not see, then one after the other is switched
    on as the simulation had it.

    Args:
        estimate_s: step of the closed form.

    Returns:
        causes whose seconds add up to the simulated less the estimated step.
    """
    own = simulation.options
    # Devices that nothing perturbs are merged: they act alike, so the step is the same.
    plain = dataclasses.replace(
        own, sharing=False, slowdown=True, perturbations=None, merge="auto", lengths=None
    )
    steps: list[tuple[str, SimulationOptions]] = [(ORDER, plain)]
    if own.lengths is not None:
        plain = dataclasses.replace(plain, lengths=own.lengths)
        steps.append((LENGTHS, plain))
    if not own.slowdown:
        steps.append((NO_SLOWDOWN, dataclasses.replace(plain, slowdown=False)))
    if own.sharing:
        steps.append((SHARING, dataclasses.replace(own, perturbations=None, merge="auto")))
    if own.perturbations is not None:
        steps.append((PERTURBATIONS, own))
    found = []
    before = estimate_s
    for place, (name, options) in enumerate(steps):
        if progress is not None:
            progress(place / len(steps), f"cause: {name}")
        same = dataclasses.replace(options, merge=own.merge) == own
        after = (
            simulation.step_time_s
            if same
            else simulate(simulation.job, simulation.layout, options).step_time_s
        )
        found.append(Cause(name, after - before))
        before = after
    return tuple(found)
