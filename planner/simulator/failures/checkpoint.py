"""How long a checkpoint of a job takes: its bytes over the bandwidth of the storage."""

from __future__ import annotations

from dataclasses import dataclass

from planner.costs.states import moment_bytes
from planner.jobs.types import Job


@dataclass(frozen=True)
class CheckpointCost:
    """What one checkpoint writes and how long the job stops for it.

    Args:
        state_bytes: of one whole copy of the training state.
        node_bandwidth: bytes/s that one node writes; None when ``seconds`` was given.
        seconds: how long the job stops.
    """

    state_bytes: float
    node_bandwidth: float | None
    seconds: float


def checkpoint_bytes(job: Job) -> float:
    """Bytes of the state that a training resumes from: one copy of parameters, their master copy and optimizer moments.

    Bytes per parameter are the framework's law: 14 for 16-bit weights with fp32 master and two fp32 moments. (Megatron-LM,
    arXiv 2104.04473: 13.8 TB for 1.008e12 parameters.) Gradients are not kept, replicas write once.
    """
    law = job.framework.state_law(job.training.precision)
    return job.model.parameter_count * (law.parameters + law.master + moment_bytes(job.training))


def checkpoint_cost(job: Job, node_bandwidth: float, given_s: float | None = None) -> CheckpointCost:
    """Seconds of one checkpoint that all nodes of the job write together, each an equal share.

    Args:
        node_bandwidth: bytes/s of one node into the storage while all write.
        given_s: a measured time, which replaces the quotient.
    """
    total = checkpoint_bytes(job)
    if given_s is not None:
        return CheckpointCost(total, None, given_s)
    return CheckpointCost(total, node_bandwidth, total / (node_bandwidth * job.cluster.nodes))
