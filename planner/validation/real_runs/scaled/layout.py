"""A layout with fewer ranks that still has every axis, schedule and sharding of the large one."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from planner.layouts.layout import Layout, Offload, Shard

CUT_FIRST = ("dp", "ring", "ulysses", "pp", "tp")
"""Among equal degrees the first is halved first, so that the last axes stay when not all can."""

MOST_CHUNKS = 2
MOST_SEQUENCES = 2
UNSAID = ("csv", "seq1f1b")
"""Schedules that belong to one shape, or that PyTorch's runtime does not take."""


def scaled_layout(layout: Layout, most: int) -> Layout:
    """The layout on at most ``most`` ranks: its largest degree is halved until they suffice, so that axes go last.

    Expert degrees, shard groups, chunks and micro-batches follow; what the reference trainer does not run (offload,
    second shards, slices of a sequence) is left out.
    """
    degrees = _degrees(layout, most)
    pp = degrees["pp"]
    piped = pp > 1
    ranks = prod(degrees.values()) // pp
    etp = degrees["tp"] if layout.etp == layout.tp else _divisor(layout.etp, ranks)
    small = replace(
        layout,
        tp=degrees["tp"],
        ulysses=degrees["ulysses"],
        ring=degrees["ring"],
        pp=pp,
        dp=degrees["dp"],
        sp=layout.sp and degrees["tp"] > 1,
        vpp=min(layout.vpp, MOST_CHUNKS) if piped else 1,
        schedule=layout.schedule if piped and layout.schedule not in UNSAID else "1f1b",
        schedule_file=None,
        slices=1,
        etp=etp,
        ep=_expert_degree(layout, ranks // etp),
        micro_batch=min(layout.micro_batch, MOST_SEQUENCES),
        micro_batches=2 * pp if piped else min(layout.micro_batches, MOST_SEQUENCES),
        recompute_layers=None if layout.recompute_layers is None else 1,
        offload=Offload(),
        layers_per_stage=None,
        cp_kind=layout.cp_kind if degrees["ring"] > 1 else "ring",
    )
    return replace(small, shard=_shard(layout, small.dp * small.cp))


def _degrees(layout: Layout, most: int) -> dict[str, int]:
    found = {axis: int(getattr(layout, axis)) for axis in CUT_FIRST}
    while prod(found.values()) > most:
        largest = max(CUT_FIRST, key=lambda axis: found[axis])
        found[largest] = -(-found[largest] // 2)
    return found


def _divisor(degree: int, of: int) -> int:
    """The largest divisor of ``of`` up to ``degree``."""
    return max(value for value in range(1, min(degree, of) + 1) if of % value == 0)


def _expert_degree(layout: Layout, ranks: int) -> int:
    """As many as fit; replicas of experts stay replicas."""
    degree = _divisor(layout.ep, ranks)
    return degree // 2 if layout.edp > 1 and degree == ranks and degree % 2 == 0 and degree > 2 else degree


def _shard(layout: Layout, group: int) -> Shard:
    """Whole groups stay whole, replicas replicas, and parts of a group become parts where the group has any."""

    def size(old: int) -> int:
        whole = old == layout.dp * layout.cp
        return 1 if old == 1 else group if whole or group % 2 or group == 2 else group // 2

    shard = layout.shard
    return Shard(size(shard.parameters), size(shard.gradients), size(shard.optimizer))
