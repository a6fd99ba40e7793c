"""Traffic between a device and its host: offloaded activations, parameters and optimizer state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from planner.costs.elements import stored_elements
from planner.costs.offload import activation_seconds, optimizer_seconds_offloaded, parameter_seconds
from planner.costs.states import shard_groups, state_bytes, tier_fraction
from planner.layouts.layout import Offload, StateClass
from planner.simulator.lowering.passes import BlockCost, Moved, PricedLayout
from planner.simulator.schedules.schedule import Kind


@dataclass(frozen=True)
class HostTraffic:
    """Offload traffic of one pipeline rank.

    Args:
        saved: for each byte that a micro-batch keeps, one way; element: for each local parameter, one fetch.
        optimizer: state streamed through the device at the update.
        hidden: the share that overlaps as far as there is computation.
    """

    saved: Moved
    element: Moved
    optimizer: Moved
    hidden: float

    def before(self, kind: Kind, block: BlockCost, split: int) -> Moved:
        """What a pass of a block waits for: its parameters, and before backward its activations.

        Args:
            split: parts that each sequence is cut in.
        """
        fetched = self.element.share(block.dense + block.expert) if kind != Kind.W else Moved()
        back = kind in (Kind.B, Kind.I)
        return fetched + self.saved.share(block.saved_bytes / split) if back else fetched

    def after(self, kind: Kind, block: BlockCost, split: int) -> Moved:
        """What a pass of a block sends away: its activations after forward."""
        return self.saved.share(block.saved_bytes / split) if kind == Kind.F else Moved()


def host_traffic(priced: PricedLayout, rank: int) -> HostTraffic:
    """The offload traffic of a pipeline rank; empty without offload.

    Raises:
        PlannerError: the cluster does not describe the tier.
    """
    job, row, layout = priced.job, priced.row, priced.layout
    hidden = float(job.training.overlap.get("offload", job.framework.hidden.offload))
    if layout.offload == Offload():
        return HostTraffic(Moved(), Moved(), Moved(), hidden)
    stage = priced.ranks[rank]
    counts = (stage.recomputed, stage.plain)
    own = priced.prices.total("dense", *counts)
    expert = priced.prices.total("expert", *counts)
    states = state_bytes(job, shard_groups(row), *stored_elements(job, row, priced.prices, stage))
    away = {state: 1.0 - float(tier_fraction(row, state, "hbm")[0]) for state in get_args(StateClass)}
    one = np.ones(1)
    elements = max(float(own[0] + expert[0]), 1.0)
    fetched = Moved(
        float(parameter_seconds(job, row, states)[0]),
        0.0,
        (away["parameters"] * float(states.parameters[0]),),
    )
    streamed = away["optimizer"] * float(states.optimizer[0]) + away["gradients"] * float(states.gradients[0])
    return HostTraffic(
        saved=Moved(float(activation_seconds(job, row, one)[0]), 0.0, (away["activations"],)),
        element=fetched.share(1.0 / elements),
        optimizer=Moved(float(optimizer_seconds_offloaded(job, row, states)[0]), 0.0, (2.0 * streamed,)),
        hidden=hidden,
    )
