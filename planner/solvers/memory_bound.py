"""Lower bounds of device memory for whole families of layouts, cheap enough to drop most families unseen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from planner.costs.pipeline import in_flight
from planner.costs.prices import PriceRows, Prices
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass, stage_groups
from planner.costs.states import gradient_bytes, shard_groups, state_bytes, tied_elsewhere
from planner.jobs.types import Job
from planner.layouts.layout import StateClass
from planner.layouts.layouts import Layouts
from planner.layouts.space.factor import choice_table
from planner.layouts.space.space import Space

SLACK = 1.0 - 1e-9
"""The bound and the exact figure sum the same terms in another order; this covers the rounding."""

_SHARDS = ("shard_parameters", "shard_gradients", "shard_optimizer")


def memory_lower_bound(job: Job, space: Space, prices: Prices) -> FloatArray:
    """Device bytes that no layout under an outer row can go below, shape (outer rows,).

    It is the backward pass of a layer with every state sharded and moved away as far as the space allows, the activations
    of the leanest recompute policy, and nothing gathered, copied or sent. Experts on an inner mesh are cut over all ranks of
    their stage: no mesh and shard cuts them further. See docs/search.md.

    Args:
        prices: block prices that cover ``space.outer``, or the least over all meshes of the experts.
    """
    outer = _sharded(space)
    rows = prices.rows(outer)
    buffers = job.framework.buffers
    result = np.zeros(len(outer))
    for group in stage_groups(outer, job.model):
        mine, local = outer.take(group.rows), rows.take(group.rows)
        for stage in group.classes:
            alive = _states(job, mine, local, stage, everywhere=space.closed) + _activations(
                mine, local, stage
            )
            used = alive * (1.0 + buffers.reserved_share) + buffers.context_bytes
            result[group.rows] = np.maximum(result[group.rows], used)
    return result * SLACK


def _sharded(space: Space) -> Layouts:
    """Outer rows with each state over the largest of its shard groups under the row."""
    columns = dict(space.outer.columns)
    for factor in space.inner:
        if not set(_SHARDS) <= set(factor.fills) or not len(space.outer):
            continue
        table = choice_table(space.outer, factor, space.facts)
        largest = np.maximum.reduceat(table.values, table.start, axis=0)[table.group]
        columns |= {name: largest[:, factor.fills.index(name)] for name in _SHARDS}
    return replace(space.outer, columns=columns)


def _kept(layouts: Layouts, state: StateClass) -> float:
    """Least share of a class that an offload policy leaves on the device."""
    return min(policy.fraction(state, "hbm") for policy in layouts.offload)


def _states(
    job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass, *, everywhere: bool
) -> FloatArray:
    """Bytes of the states of a rank without padding; ``everywhere``: experts are cut over all ranks of the stage."""
    dense = prices.total("dense", stage.recomputed, stage.plain)
    for table in tied_elsewhere(job.model, stage):
        dense = dense + local_parameter(table.axes, layouts)
    groups = shard_groups(layouts)
    if everywhere:
        ranks = groups.expert.replicas
        groups = replace(
            groups, expert=replace(groups.expert, parameters=ranks, gradients=ranks, optimizer=ranks)
        )
    states = state_bytes(job, groups, dense, _experts(job, layouts, stage))
    total = states.parameters * _kept(layouts, "parameters") + states.optimizer * _kept(layouts, "optimizer")
    if job.framework.buffers.gradients_freed:
        return total
    # gradients that are held back are whole, in the type in which they are reduced
    whole = job.framework.state_law(job.training.precision).reduced / gradient_bytes(job)[0]
    return total + states.gradients * min(whole, 1.0) * _kept(layouts, "gradients")


def _experts(job: Job, layouts: Layouts, stage: StageClass) -> FloatArray:
    """Local elements of a rank's routed experts."""
    first, inverse = layouts.unique(("tp", "ep", "etp"))
    rows = layouts.take(first)
    total = np.zeros(len(first))
    for counts in (stage.recomputed, stage.plain):
        for name, count in counts.items():
            for parameter in job.model.blocks[name].parameters.values():
                if "experts" in parameter.axis_names and parameter.tied_to is None:
                    total = total + count * local_parameter(parameter.axes, rows)
    spread: FloatArray = total[inverse]
    return spread


def _activations(layouts: Layouts, prices: PriceRows, stage: StageClass) -> FloatArray:
    """Bytes of what is saved, and of the gradients of one layer's backward: the least over the recompute policies."""
    c = layouts.columns
    flight = in_flight(c["schedule"], c["pp"], c["vpp"], c["micro_batches"], stage.ranks[0])
    moved = 1.0 - _kept(layouts, "activations")
    least = np.full(len(layouts), np.inf)
    for each in _under_each_policy(prices):
        saved = flight * each.total("saved", stage.recomputed, stage.plain)
        buffers = 2.0 * moved * each.largest(("saved",), stage.recomputed, stage.plain)
        kept = np.minimum(saved, saved * (1.0 - moved) + np.minimum(buffers, saved))
        least = np.minimum(least, kept + each.largest(("moment",), stage.recomputed, {}))
    return least


def _under_each_policy(prices: PriceRows) -> Iterator[PriceRows]:
    for policy in range(len(prices.prices.policies)):
        yield replace(prices, policy=np.full_like(prices.policy, policy))
