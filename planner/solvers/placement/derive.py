"""The traffic between places that a plan's communication rows imply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import Algorithm
from planner.costs.collectives.flat import tree_share
from planner.jobs.prediction import CommunicationRow, Prediction
from planner.jobs.types import Job
from planner.layouts.groups import group_array
from planner.layouts.layout import Layout
from planner.solvers.placement.file_rates import file_rates
from planner.solvers.placement.hops import pipeline_term
from planner.solvers.placement.members import Ranks, row_groups
from planner.solvers.placement.traffic import Group, Pattern, Term, Traffic

PASSES: Mapping[str, float] = {"all_reduce": 2.0, "reduce_scatter": 1.0, "all_gather": 1.0}
"""How often a ring of n passes (n - 1) / n of the buffer over each edge."""

Floats = NDArray[np.float64]

Key = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of a group, and its ranks on each."""


def plan_traffic(job: Job, layout: Layout, prediction: Prediction) -> Traffic:
    """What the nodes of a plan send to each other in one step.

    A row's seconds beyond its bytes over the cluster's rates (latency, work inside the nodes) stay as they are, so on links of
    exactly those rates a term takes as long as the plan says.

    Args:
        prediction: of the layout.

    Raises:
        PlannerError: the job runs on one node.
    """
    per_node, stage = job.cluster.devices_per_node, _stages(layout)
    places = -(-len(stage) // per_node)
    rates = file_rates(job.cluster, places)
    sums: dict[tuple[str, Pattern, int], _Sum] = {}
    for rank in prediction.ranks:
        for row in rank.communication:
            if row.axis == "pp" and row.collective == "send_recv":
                continue
            pattern: Pattern = "exchange" if row.collective == "all_to_all" else "ring"
            groups = row_groups(layout, row)
            mine = groups[stage[groups[:, 0]] == rank.pipeline_rank] if row.axis != "pp" else groups
            term = sums.setdefault((row.axis, pattern, row.ranks), _Sum())
            term.add(row, rank.pipeline_rank, _on_places(mine, per_node), rates, pattern)
    terms = [_term(axis, pattern, total) for (axis, pattern, _), total in sums.items() if total.nbytes]
    hops = pipeline_term(job, layout, prediction)
    return Traffic(places, (*([hops] if hops else []), *terms))


def _stages(layout: Layout) -> NDArray[np.int64]:
    """(ranks,): pipeline rank of every rank."""
    chains = group_array(layout, "pp")
    stage = np.empty(chains.size, dtype=np.int64)
    stage[chains] = np.arange(chains.shape[1])
    return stage


def _on_places(groups: Ranks, per_node: int) -> Iterator[tuple[Key, int]]:
    """Distinct ((places, ranks on each), how many groups lie so) of the groups that leave their place."""
    places = np.sort(groups // per_node, axis=1)
    distinct, counts = np.unique(places[places[:, 0] != places[:, -1]], axis=0, return_counts=True)
    for row, count in zip(distinct, counts, strict=True):
        found, ranks = np.unique(row, return_counts=True)
        yield (tuple(found.tolist()), tuple(ranks.tolist())), int(count)


@dataclass
class _Sum:
    """Rows of one term added up.

    Args:
        nbytes: by group, of a step (see ``Group``).
        fixed: by (group, pipeline rank), seconds beside the bytes.
        hidden: by pipeline rank, seconds that computation hides.
    """

    nbytes: dict[Key, float] = field(default_factory=dict)
    fixed: dict[tuple[Key, int], float] = field(default_factory=dict)
    hidden: dict[int, float] = field(default_factory=dict)

    def add(
        self,
        row: CommunicationRow,
        rank: int,
        groups: Iterable[tuple[Key, int]],
        rates: Floats,
        pattern: Pattern,
    ) -> None:
        """Adds a row of a pipeline rank; ``rates``: of the cluster's file."""
        leaves = False
        for key, count in groups:
            leaves = True
            each = _bytes_of_step(row, key)
            own = each * (_most_out(key[1]) if pattern == "exchange" else 1.0)
            self.nbytes[key] = self.nbytes.get(key, 0.0) + each * count
            slowest = float(rates[np.ix_(key[0], key[0])].min())
            beside = max(row.seconds - own * count / slowest, 0.0)
            self.fixed[key, rank] = self.fixed.get((key, rank), 0.0) + beside
        if leaves:
            self.hidden[rank] = self.hidden.get(rank, 0.0) + row.seconds - row.exposed_s


def _bytes_of_step(row: CommunicationRow, key: Key) -> float:
    """Bytes of a step over an edge of a ring between nodes; of an all-to-all from one rank to another.

    The devices of a domain below the outermost level share what leaves it, and the node has as many of them as it has ranks.
    Level by level only what the inner exchanges leave travels there, over double binary trees twice the buffer (once between
    two domains), to switches that add once.
    """
    total = row.bytes_per_call * row.calls_per_step
    if row.collective == "all_to_all":
        return total / row.ranks
    if row.collective not in PASSES or row.algorithm == Algorithm.IN_NETWORK.label:
        return total
    members = [count for count in row.ranks_per_level if count > 1][-1]
    share = max(key[1]) * members / row.ranks
    if row.algorithm == Algorithm.TREE.label:
        return total * share * float(tree_share(np.array([members]))[0])
    travelling = members if row.algorithm == Algorithm.HIERARCHICAL.label else row.ranks
    return total * share * PASSES[row.collective] * (travelling - 1) / travelling


def _most_out(ranks: tuple[int, ...]) -> float:
    """Pairs of ranks between the busiest place and the others."""
    return float(max(own * (sum(ranks) - own) for own in ranks))


def _term(axis: str, pattern: Pattern, total: _Sum) -> Term:
    groups = []
    for key, nbytes in total.nbytes.items():
        fixed = max(seconds for (whose, _), seconds in total.fixed.items() if whose == key)
        groups.append(Group(key[0], nbytes, fixed, key[1] if pattern == "exchange" else ()))
    return Term(axis, pattern, tuple(groups), max(min(total.hidden.values()), 0.0))
