"""What a simulation takes into account."""

from __future__ import annotations

from dataclasses import dataclass

from planner.simulator.actors import Merge
from planner.simulator.lowering.plan import Detail
from planner.simulator.perturbations import Perturbations


@dataclass(frozen=True)
class SimulationOptions:
    """Defaults simulate the job as it is described.

    Args:
        merge: ``auto`` runs one of each kind of devices that act alike, ``none`` every device.
        sharing: transfers share links; without it each takes its time alone on the network.
        slowdown: traffic slows the computation that it overlaps, by the framework profile's factor.
        detail: ``layer`` runs every block of a pass on its own, ``pass`` only where traffic begins or ends inside it.
        perturbations: slow devices and links, spread of speeds, jitter.
        lengths: sequence length of each micro-batch (all replicas alike), None where all have the job's.
    """

    merge: Merge = "auto"
    sharing: bool = True
    slowdown: bool = True
    detail: Detail = "pass"
    perturbations: Perturbations | None = None
    lengths: tuple[int, ...] | None = None
