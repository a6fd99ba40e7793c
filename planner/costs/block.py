"""Price of one block (embedding, layer, head) for one micro-batch, over the few knobs that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from planner.costs.block_passes import Part, price_policy
from planner.costs.block_price import BlockPrice, merged
from planner.costs.expert_biases import with_expert_biases
from planner.costs.least import least_cost, one_expert_each
from planner.costs.operators import OperatorCost, operator_cost
from planner.costs.sizes import Sizes
from planner.costs.transfers import Request, Transfer, price_requests, request_exchange, strides_of
from planner.costs.views import Views
from planner.jobs.types import Job
from planner.layouts.layout import Recompute
from planner.layouts.layouts import IntArray, Layouts, distinct_rows
from planner.layouts.sharding import Derivation, Pattern, derive
from planner.models.graph import Block, Operator

BLOCK_KNOBS = ("tp", "sp", "ulysses", "ring", "cp_gather", "ep", "etp", "micro_batch", "axis_order")
"""Knobs that a block's price depends on, besides recompute."""


def block_knobs(layouts: Layouts) -> tuple[str, ...]:
    """Columns that the price of a block depends on: dp and pp join when they lie inside another axis of some row."""
    inner = any(
        order.index(outer) < order.index(axis)
        for order in layouts.axis_orders
        for outer in ("dp", "pp")
        for axis in order[:-1]
        if axis not in ("dp", "pp")
    )
    return (*BLOCK_KNOBS, "dp", "pp") if inner else BLOCK_KNOBS


def routes(block: Block) -> bool:
    """Whether a block holds routed experts."""
    return any("expert_tokens" in tensor.axis_names for tensor in block.tensors.values())


def pattern_of(layouts: Layouts, job: Job) -> list[tuple[Pattern, np.ndarray]]:
    """Rows grouped by the discrete pattern that decides which collectives exist: (pattern, row indices)."""
    c = layouts.columns
    kv_heads = job.model.kv_heads or job.model.heads or 1
    flags = [c[name] > 1 for name in ("tp", "ulysses", "ring", "ep", "etp")]
    flags += [(c["sp"] > 0) & (c["tp"] > 1), c["cp_gather"] > 0, c["tp"] > kv_heads]
    first, inverse = distinct_rows([flag.astype(np.int64) for flag in flags], len(layouts))
    distinct = np.stack([flag[first] for flag in flags], axis=1)
    framework, loss = job.framework, job.training.loss
    groups = []
    for index, row in enumerate(distinct.tolist()):
        tp, ulysses, ring, ep, etp, sp, gather, replicated = row
        pattern = Pattern(
            tp=tp,
            sp=sp,
            ulysses=ulysses,
            ring=ring,
            cp_gather=gather and ring,
            ep=ep,
            etp=etp,
            kv_replicated=replicated,
            vocab_parallel_loss=loss.vocab_parallel,
            regather_inputs=framework.regather_inputs,
            shared_input_hook=framework.shared_input_hook,
            sums_each_pass=framework.shard_runtime == "fsdp2",
            gathers_tokens=job.training.moe.dispatcher == "allgather",
        )
        groups.append((pattern, np.flatnonzero(inverse == index)))
    return groups


def price_block(
    block: Block, layouts: Layouts, job: Job, policies: Sequence[Recompute], *, least: bool = False
) -> list[BlockPrice]:
    """Prices of a block for each recompute policy over all rows.

    Args:
        block: the operators.
        layouts: rows (usually the distinct combinations of ``BLOCK_KNOBS``).
        policies: recompute policies; the result has one price each.
        least: for rows ``on_one_rank``, the least over all meshes of the experts.
    """
    strides = strides_of(layouts)
    asked = [
        _Asked.of(block, pattern, rows, Sizes(layouts.take(rows), job, block), strides, least=least)
        for pattern, rows in pattern_of(layouts, job)
    ]
    transfers = iter(price_requests([request for one in asked for request in one.requests], job))
    parts = [(one.rows, one.answered(transfers)) for one in asked]
    return [
        merged(len(layouts), [(rows, price_policy(part, policy)) for rows, part in parts])
        for policy in policies
    ]


@dataclass(frozen=True)
class _Asked:
    """Rows of a block whose collectives are the same, before these are priced.

    Args:
        rows: their places. part: without transfers.
    """

    rows: IntArray
    part: Part
    requests: tuple[Request, ...]

    @staticmethod
    def of(
        block: Block,
        pattern: Pattern,
        rows: IntArray,
        sizes: Sizes,
        strides: Mapping[str, IntArray],
        *,
        least: bool,
    ) -> _Asked:
        derivation = derive(block, pattern)
        local = {axis: values[rows] for axis, values in strides.items()}
        views = Views.of(sizes, local, block_knobs(sizes.layouts), routes=routes(block))
        price = least_cost if least else _operator_cost
        costs = {
            o.name: views.of_operator(o, block).cost(partial(price, o, block, derivation))
            for o in block.operators
        }
        owners = {o.name: o.module for o in block.operators}
        requests = tuple(
            views.of_exchange(e, block).request(partial(request_exchange, e, owners[e.owner], block))
            for e in derivation.exchanges
        )
        launched = one_expert_each(sizes) if least else sizes
        return _Asked(rows, Part(block, sizes, launched, derivation, costs, ()), requests)

    def answered(self, transfers: Iterator[Transfer]) -> Part:
        """With as many of the transfers as were asked for."""
        return replace(self.part, transfers=tuple(islice(transfers, len(self.requests))))


def _operator_cost(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    cost = operator_cost(operator, block, derivation, sizes)
    return with_expert_biases(cost, operator, block, derivation, sizes)
