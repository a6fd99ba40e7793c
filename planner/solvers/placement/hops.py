"""Messages between the stages of a pipeline, as a term of the traffic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.collectives import collective_cost
from planner.costs.hops import waited_hops
from planner.costs.pipeline import hop_count
from planner.costs.stages import V_SCHEDULES
from planner.jobs.prediction import CommunicationRow, Prediction
from planner.jobs.types import Job
from planner.layouts.groups import group_array
from planner.layouts.layout import Layout, Schedule
from planner.layouts.layouts import from_layouts
from planner.layouts.mesh import Spread
from planner.solvers.placement.traffic import UNHIDDEN, Group, Hops, Term

RECURRING: Mapping[Schedule, int] = {"1f1b": 1, "dualpipe_v": 1, "dualpipe": 2}
"""Schedules in which a rank waits for its neighbour's answer, by the directions that share the micro-batches."""


def pipeline_term(job: Job, layout: Layout, prediction: Prediction) -> Term | None:
    """The hops of all pipelines, None where none leaves its node.

    Pipelines over the same places share the links: their messages are added up.
    """
    rows = [
        row
        for rank in prediction.ranks
        for row in rank.communication
        if row.axis == "pp" and row.collective == "send_recv"
    ]
    chains, counts = np.unique(
        group_array(layout, "pp") // job.cluster.devices_per_node, axis=0, return_counts=True
    )
    if not rows or not (chains[:, :1] != chains).any():
        return None
    message = max(row.bytes_per_call for row in rows)
    latency, inside = _message_times(job, message, rows[0])
    groups = tuple(
        Group(tuple(chain.tolist()), message * int(count), latency)
        for chain, count in zip(chains, counts, strict=True)
    )
    return Term("pp", "chain", groups, hops=_recurrence(job, layout, inside))


def _recurrence(job: Job, layout: Layout, inside_s: float) -> Hops:
    """How often the step waits for a message: as the closed form of the schedule counts, less the hidden share."""
    row = from_layouts([layout])
    columns = row.columns
    counted = float(
        hop_count(columns["schedule"], columns["pp"], columns["vpp"], columns["micro_batches"])[0]
    )
    waited = max(float(waited_hops(job, row)[0]), UNHIDDEN * counted)
    if layout.schedule in RECURRING:
        return _recurring(layout, waited, inside_s)
    chunks = max(layout.vpp, 1)
    around = 0.0 if layout.schedule in V_SCHEDULES else (chunks - 1.0) / chunks
    crossings = 2.0 * (layout.pp - 1 + around)
    return Hops(layout.micro_batches, False, waited / crossings, around, inside_s)


def _recurring(layout: Layout, waited: float, inside_s: float) -> Hops:
    """The stretches' formula, scaled so that equal messages are waited for as often as the closed form says."""
    from planner.solvers.placement.kernel import recurring_wait

    micro_batches = max(layout.micro_batches // RECURRING[layout.schedule], 1)
    equal = float(recurring_wait(np.full(layout.pp - 1, 2.0), micro_batches))
    return Hops(micro_batches, True, waited / equal, 0.0, inside_s)


def _message_times(job: Job, message: float, row: CommunicationRow) -> tuple[float, float]:
    """(latency of a message between nodes, seconds of one inside a node)."""
    levels = len(row.ranks_per_level)
    per_node, cluster = job.cluster.devices_per_node, job.cluster
    two, one = np.array([2], dtype=np.int64), np.ones(1, dtype=np.int64)
    crosses = [level.size <= per_node for level in cluster.network]
    outside = np.array([[2 if crosses[level] else 1 for level in range(levels)]], dtype=np.int64)
    inner = np.ones((1, levels), dtype=np.int64)
    nodes = Spread(two, np.full(1, per_node, dtype=np.int64), cluster.devices, outside)
    far = collective_cost("send_recv", np.array([message]), nodes, cluster)
    near = collective_cost(
        "send_recv", np.array([message]), Spread(two, one, cluster.devices, inner), cluster
    )
    return float(far.latency_s[0]), float(near.seconds[0])
