"""All-to-all: every member sends an equal part of its buffer to every other."""

from __future__ import annotations

import numpy as np

from planner.costs.collectives.paths import Paths
from planner.costs.collectives.types import Collective, Estimate, Floats


def linear(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """n - 1 messages of 1/n of the buffer, all levels at the same time (NCCL's grouped send and receive).

    A level takes its bytes over its rate, plus its latency and a gap per further message, all of which are posted together:
    small messages never reach the rate (Tutel, arXiv 2206.03382). On a rail network the bytes for other rails first cross
    the node.
    """
    n = paths.ranks[:, None]
    peers = paths.inside * (paths.members - 1)
    exact = nbytes[:, None] * peers / n
    exact += _to_other_rails(exact, paths)
    loads = paths.loads(exact)
    moving = loads / paths.uniform
    seconds = paths.call + np.where(paths.crossed, moving + _posted(peers, paths), 0).max(axis=1)
    return Estimate(
        seconds=seconds,
        latency_s=seconds - moving.max(axis=1),  # the levels work at the same time, none above its rate
        bytes_per_level=loads,
        legal=np.ones(len(nbytes), dtype=np.bool_),
    )


def two_level(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """One all-to-all per level, of the whole buffer in fewer and larger messages (Tutel's 2DH, arXiv 2206.03382).

    Between the phases the buffer is re-ordered in memory: one strided read and write per phase.
    """
    accelerator = paths.cluster.accelerator
    copy_rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    sent = np.where(paths.crossed, nbytes[:, None] * (paths.members - 1) / paths.members, 0)
    start = np.where(paths.crossed, paths.start + _posted(paths.members - 1, paths), 0)
    phases = paths.crossed.sum(axis=1)
    return Estimate(
        seconds=start.sum(axis=1) + (sent / paths.uniform).sum(axis=1) + phases * 2 * nbytes / copy_rate,
        latency_s=start.sum(axis=1),
        bytes_per_level=paths.loads(sent),
        legal=phases >= 2,
    )


def _posted(messages: Floats, paths: Paths) -> Floats:
    """(rows, levels): from the first post to the arrival of the last of so many messages, without their bytes."""
    posted: Floats = paths.latency + np.maximum(messages - 1, 0) * paths.gap
    return posted * paths.turns[:, None]


def _to_other_rails(exact: Floats, paths: Paths) -> Floats:
    """(rows, levels): bytes that cross the node to reach the network card of the receiver's rail."""
    extra = np.zeros_like(exact)
    for index, level in enumerate(paths.cluster.network):
        if index > 0 and level.fabric == "rail":
            inside = paths.inside[:, index]
            below = index - 1 - np.argmax(paths.crossed[:, :index][:, ::-1], axis=1)
            extra[np.arange(len(exact)), below] += exact[:, index] * (inside - 1) / inside
    return extra
