"""What fails how often, and what a failure costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.errors import PlannerError


@dataclass(frozen=True)
class FailureModel:
    """A job whose nodes fail at exponential times, and how it saves and restarts itself.

    The job works for an interval, then stops for ``checkpoint_s`` while a snapshot is taken; ``background_s`` later the
    snapshot is durable. A failure throws away the work since the last durable checkpoint. Nodes fail while the job
    works, takes a snapshot, hangs until the failure is detected, or restarts; spare and waiting nodes do not fail.

    Args:
        devices: of the job, whole nodes.
        devices_per_node: what one failure takes down, and one spare replaces.
        device_mtbf_s: mean time between failures of one device; a node fails devices_per_node times as often.
        checkpoint_s: how long a snapshot stops the job.
        background_s: from the end of the snapshot until it is durable; the job works meanwhile.
        detect_s: from a failure until it is known and diagnosed; the job hangs meanwhile.
        restart_s: re-scheduling, communicator set-up and loading; a failure within it starts the recovery again.
        spares: nodes kept idle for replacement, None for as many as are needed.
        repair_s: from a failure until the failed node is a spare itself.

    Raises:
        PlannerError: a figure is negative or not finite, or zero where it cannot be.
    """

    devices: int
    device_mtbf_s: float
    checkpoint_s: float
    detect_s: float
    restart_s: float
    background_s: float = 0.0
    spares: int | None = None
    repair_s: float = 0.0
    devices_per_node: int = 1

    def __post_init__(self) -> None:
        for name in ("devices", "devices_per_node", "device_mtbf_s"):
            _check(name, getattr(self, name), positive=True)
        for name in ("checkpoint_s", "background_s", "detect_s", "restart_s", "repair_s"):
            _check(name, getattr(self, name), positive=False)
        if self.spares is not None:
            _check("spares", self.spares, positive=False)

    @property
    def nodes(self) -> int:
        return math.ceil(self.devices / self.devices_per_node)

    @property
    def job_mtbf_s(self) -> float:
        """Mean time between failures of the job: any of its nodes stops it."""
        return self.device_mtbf_s / (self.nodes * self.devices_per_node)

    @property
    def rate(self) -> float:
        """Failures per second of the job."""
        return 1.0 / self.job_mtbf_s


def _check(name: str, value: float, *, positive: bool) -> None:
    wanted = "greater than zero" if positive else "zero or more"
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise PlannerError(f"found {value}; accepted: a finite number {wanted}", field=name)
