"""Traffic between a device and its host: offloaded activations, parameters and optimizer state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.offload import activation_seconds, optimizer_seconds_offloaded, parameter_seconds
from planner.costs.states import shard_groups, stage_elements, state_bytes, tier_fraction
from planner.layouts.layout import Offload, StateClass
from planner.simulator.lowering.passes import Moved, PricedLayout
from planner.simulator.schedules.schedule import Kind

STREAMED: tuple[StateClass, ...] = ("optimizer", "gradients")
"""States that pass through the device once, in and out, at the update."""


@dataclass(frozen=True)
class HostTraffic:
    """Offload traffic of one pipeline rank.

    Args:
        activations: by model stage, one way of one micro-batch; parameters: by model stage, one pass.
        optimizer: state streamed through the device at the update.
        hidden: the share that overlaps as far as there is computation.
    """

    activations: dict[int, Moved]
    parameters: dict[int, Moved]
    optimizer: Moved
    hidden: float

    def before(self, kind: Kind, stage: int) -> list[Moved]:
        """What a pass waits for."""
        found = [self.parameters.get(stage)] if kind in (Kind.F, Kind.B, Kind.I) else []
        if kind in (Kind.B, Kind.I):
            found.append(self.activations.get(stage))
        return [moved for moved in found if moved is not None]

    def after(self, kind: Kind, stage: int) -> list[Moved]:
        """What a pass sends away."""
        moved = self.activations.get(stage) if kind == Kind.F else None
        return [] if moved is None else [moved]


def host_traffic(priced: PricedLayout, rank: int) -> HostTraffic:
    """The offload traffic of a pipeline rank; empty without offload.

    Raises:
        PlannerError: the cluster does not describe the tier.
    """
    job, row, layout = priced.job, priced.row, priced.layout
    hidden = float(job.training.overlap.get("offload", job.framework.hidden.offload))
    if layout.offload == Offload():
        return HostTraffic({}, {}, Moved(), hidden)
    stage = priced.ranks[rank]
    counts = (stage.recomputed, stage.plain)
    dense = stage_elements(job, row, stage, priced.prices.total("dense", *counts))
    states = state_bytes(job, shard_groups(row), dense, priced.prices.total("expert", *counts))
    owned = stage.virtual_stages
    away = 1.0 - float(tier_fraction(row, "activations", "hbm")[0])
    activations = {}
    for index in owned:
        saved = np.array([priced.stages[index].saved_bytes])
        activations[index] = Moved(
            float(activation_seconds(job, row, saved)[0]), 0.0, (away * float(saved[0]),)
        )
    seconds = float(parameter_seconds(job, row, states)[0])
    elsewhere = 1.0 - float(tier_fraction(row, "parameters", "hbm")[0])
    fetched = Moved(seconds, 0.0, (elsewhere * float(states.parameters[0]),))
    shares = _shares(priced, owned)
    parameters = {index: fetched.share(share) for index, share in zip(owned, shares, strict=True)}
    away_of = {state: 1.0 - float(tier_fraction(row, state, "hbm")[0]) for state in STREAMED}
    moved = away_of["optimizer"] * float(states.optimizer[0]) + away_of["gradients"] * float(
        states.gradients[0]
    )
    streamed = Moved(float(optimizer_seconds_offloaded(job, row, states)[0]), 0.0, (2.0 * moved,))
    return HostTraffic(_moving(activations), _moving(parameters), streamed, hidden)


def _moving(parts: dict[int, Moved]) -> dict[int, Moved]:
    return {stage: moved for stage, moved in parts.items() if moved.seconds > 0.0}


def _shares(priced: PricedLayout, owned: tuple[int, ...]) -> list[float]:
    """Share of a rank's parameters in each of its stages."""
    elements = [sum(b.dense + b.expert for b in priced.stages[stage].blocks) for stage in owned]
    whole = sum(elements)
    return [value / whole if whole else 1.0 / len(owned) for value in elements]
