"""The step time of Pipette (arXiv 2405.18093), as published: for comparison with the planner's own.

It sees that under 1F1B a pipeline's messages recur once per round of p micro-batches. What it leaves out is in
docs/placement.md: the messages of filling and draining, stretches of slow links, all rings but the first stage's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PipetteRun:
    """What its formula reads.

    Args:
        forward_s, backward_s: one micro-batch on one stage.
        micro_batches: m; m mod p of them are dropped, as published.
        message_bytes: one activation of one micro-batch (2 b s h).
        gradient_bytes: of one stage's weights.
    """

    forward_s: float
    backward_s: float
    micro_batches: int
    message_bytes: float
    gradient_bytes: float


def pipette_time(
    run: PipetteRun, pipelines: Sequence[Sequence[int]], bandwidth: NDArray[np.float64]
) -> float:
    """T = floor(m / p) (P2P + p (f + b)) + (p - 1)(f + b) + DP, seconds.

    P2P is twice the sum over a pipeline's hops, at its slowest pipeline; DP the ring over the nodes of the first stage at the
    pace of its slowest link.

    Args:
        pipelines: nodes of each replica, by stage.
        bandwidth: (nodes, nodes), bytes/s.
    """
    routes = np.asarray(pipelines, dtype=np.int64)
    replicas, stages = routes.shape
    both = run.forward_s + run.backward_s
    hops = (2.0 * run.message_bytes / bandwidth[routes[:, :-1], routes[:, 1:]]).sum(axis=1)
    rounds = run.micro_batches // stages
    ring = 0.0
    if replicas > 1:
        first = routes[:, 0]
        slowest = bandwidth[first, np.roll(first, -1)].min()
        ring = 2.0 * (replicas - 1) / replicas * run.gradient_bytes / float(slowest)
    return float(rounds * (hops.max() + stages * both) + (stages - 1) * both + ring)
