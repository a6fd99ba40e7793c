"""Price of one block (embedding, layer, head) for one micro-batch, over the few knobs that it depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from planner.costs.block_price import AXES, BlockPrice, PassPrice, merged
from planner.costs.expert_biases import with_expert_biases
from planner.costs.host import ROUTED, HostWork, host_work, routed_wait_s
from planner.costs.kept_outputs import kept_outputs
from planner.costs.late import late_launches, out_of_step
from planner.costs.least import least_cost, one_expert_each
from planner.costs.operators import OperatorCost, operator_cost
from planner.costs.saved import block_memory
from planner.costs.sizes import FloatArray, Sizes
from planner.costs.transfers import Request, Transfer, price_requests, request_exchange, strides_of
from planner.costs.views import Views
from planner.jobs.framework import Framework
from planner.jobs.types import Job
from planner.layouts.layout import Recompute
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.sharding import Derivation, Pattern, derive
from planner.models.graph import Block, Operator

BLOCK_KNOBS = ("tp", "sp", "ulysses", "ring", "cp_gather", "ep", "etp", "micro_batch", "axis_order")
"""Knobs that a block's price depends on, besides recompute."""

BULK_SHARE = 0.4
"""Hidden part of tp traffic that leaves the innermost domain. Kernels that interleave a matmul with its own gather or scatter
write to the memory of all peers, so they need NVLink between them (NVIDIA/TransformerEngine, issue 1071). Across nodes only
4 of a layer's 10 collectives overlap, beside a matmul that they do not feed: column-parallel inputs gathered again during the
input gradient, and its reduction during the weight gradient."""


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
    flags = np.stack(
        [c[name] > 1 for name in ("tp", "ulysses", "ring", "ep", "etp")]
        + [(c["sp"] > 0) & (c["tp"] > 1), c["cp_gather"] > 0, c["tp"] > kv_heads],
        axis=1,
    )
    distinct, inverse = np.unique(flags, axis=0, return_inverse=True)
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
        groups.append((pattern, np.flatnonzero(inverse.ravel() == index)))
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
    parts = [
        _Part.of(block, pattern, rows, Sizes(layouts.take(rows), job, block), strides, least=least)
        for pattern, rows in pattern_of(layouts, job)
    ]
    transfers = iter(price_requests([request for part in parts for request in part.requests], job))
    shares = [tuple(islice(transfers, len(part.requests))) for part in parts]
    return [
        merged(
            len(layouts),
            [
                (part.rows, _price_policy(part, mine, policy))
                for part, mine in zip(parts, shares, strict=True)
            ],
        )
        for policy in policies
    ]


@dataclass(frozen=True)
class _Part:
    """Rows of a block whose collectives are the same.

    Args:
        rows: their places. launched: sizes that launches go by. costs: of every operator. host: forward and backward.
    """

    block: Block
    rows: IntArray
    sizes: Sizes
    launched: Sizes
    derivation: Derivation
    costs: Mapping[str, OperatorCost]
    host: tuple[HostWork, HostWork]
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
    ) -> _Part:
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
        forward, backward = (
            host_work(block, costs, launched, block.operators, backward=b) for b in (False, True)
        )
        return _Part(block, rows, sizes, launched, derivation, costs, (forward, backward), requests)


def _operator_cost(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    cost = operator_cost(operator, block, derivation, sizes)
    return with_expert_biases(cost, operator, block, derivation, sizes)


def recomputed_operators(block: Block, policy: Recompute, *, stops_early: bool) -> tuple[Operator, ...]:
    """Operators whose forward runs again in backward."""
    if block.kind != "layer" or policy.mode == "none":
        return ()
    if policy.mode == "selective":
        return tuple(o for o in block.operators if o.module in policy.modules)
    if not stops_early:
        return block.operators
    return _until_last_matmul(block)


def _until_last_matmul(block: Block) -> tuple[Operator, ...]:
    """What a checkpoint that stops early repeats: nothing that backward saves is made from the last product on."""
    last = max((i for i, o in enumerate(block.operators) if o.kind == "einsum"), default=len(block.operators))
    return block.operators[:last]


def _dropped(block: Block, framework: Framework, policy: Recompute, again: Set[str]) -> Mapping[str, float]:
    """Other matmul -> share that runs again too, where a policy over the whole layer keeps a part of their outputs only."""
    share = framework.selective_outputs
    if share is None or policy.mode != "selective" or not again:
        return {}
    operators = _until_last_matmul(block) if framework.recompute_stops_early else block.operators
    reached = {operator.name for operator in operators}
    kept = kept_outputs(block, again, share)
    return {name: 1.0 - part for name, part in kept.items() if name in reached}


def _again(transfer: Transfer, again: Collection[str], framework: Framework, policy: Recompute) -> bool:
    """Whether backward repeats a transfer of forward: with its operator, or, under a policy over the whole layer, whatever it
    does not keep. torchtitan's keeps what reduce-scatters leave, but nothing of gathers."""
    if transfer.exchange.pass_ != "forward":
        return False
    whole = bool(again) and policy.mode == "selective" and framework.selective_outputs is not None
    return transfer.exchange.owner in again or (whole and transfer.exchange.collective == "all_gather")


def _price_policy(part: _Part, transfers: tuple[Transfer, ...], policy: Recompute) -> BlockPrice:
    block, sizes, costs, framework = part.block, part.sizes, part.costs, part.sizes.job.framework
    again = {o.name for o in recomputed_operators(block, policy, stops_early=framework.recompute_stops_early)}
    repeated = tuple(_again(t, again, framework, policy) for t in transfers)
    every = list(costs.values())
    repeat = [costs[o.name] for o in block.operators if o.name in again]
    zero = np.zeros(len(sizes.layouts))

    def total(name: str, chosen: list[OperatorCost]) -> FloatArray:
        return sum((getattr(cost, name) for cost in chosen), zero)

    core = [o.name for o in block.operators if o.kind in ("attention", "scan")]
    window_f = sum((costs[name].forward_s for name in core), zero)
    window_b = sum((costs[name].input_gradient_s for name in core), zero)
    weights = total("weight_gradient_s", every)
    dropped = _dropped(block, framework, policy, again)

    def repeated_total(name: str) -> FloatArray:
        shares = (share * getattr(costs[operator], name) for operator, share in dropped.items())
        return sum(shares, total(name, repeat))

    recompute = repeated_total("forward_s")
    redone = [o for o in block.operators if o.name in again]
    host_forward, host_backward = part.host
    routed = sum((costs[o.name].forward_s for o in block.operators if o.module in ROUTED), zero)
    sent = [t for t in transfers if t.exchange.pass_ == "forward"]
    forward = _pass(sizes, total("forward_s", every), zero, window_f, sent, host_forward, routed)
    inputs, window = total("input_gradient_s", every), window_b + (window_f if set(core) & again else zero)
    moved = [t for t in transfers if t.exchange.pass_ == "backward"]
    moved += [t for t, again_too in zip(transfers, repeated, strict=True) if again_too]
    if redone:
        host_backward = host_backward.and_again(
            host_work(block, costs, part.launched, redone, backward=False)
        )
    backward = _pass(sizes, inputs + weights, recompute, window, moved, host_backward, routed)
    split = _pass(sizes, inputs, recompute, window, moved, host_backward, routed, late=weights)
    return BlockPrice(
        forward=forward,
        backward=backward,
        split=split,
        weight_gradient_s=weights,
        forward_flops=total("forward_flops", every),
        backward_flops=total("backward_flops", every),
        recompute_flops=repeated_total("forward_flops"),
        step_exchange_s=sum((t.seconds for t in transfers if t.exchange.pass_ == "optimizer"), zero),
        memory=block_memory(block, part.derivation, sizes, again, policy),
        transfers=transfers,
        repeated=repeated,
    )


def _pass(
    sizes: Sizes,
    compute: FloatArray,
    recompute: FloatArray,
    window: FloatArray,
    transfers: Sequence[Transfer],
    host: HostWork,
    routed: FloatArray,
    late: FloatArray | float = 0.0,
) -> PassPrice:
    """Exposed and hidden communication of one pass.

    Transfers hide behind computation by the framework's share for their kind, but no two behind the same computation:
    what one hides is no longer there for the next. ``late`` computation runs at another time and hides nothing. A ring
    hides behind the attention core only; Ulysses' all-to-alls have nothing to hide behind.
    """
    hidden_share, overlap = sizes.job.framework.hidden, sizes.job.training.overlap
    zero = np.zeros(len(sizes.layouts))
    spare = compute + recompute
    exposed: dict[str, FloatArray] = {}
    hidden_total = zero
    for axis in AXES:
        mine = [t for t in transfers if t.axis == axis]
        if not mine:
            exposed[axis] = zero
            continue
        seconds = sum((t.seconds for t in mine), zero)
        share = float(overlap.get(axis, getattr(hidden_share, "ep" if axis == "etp" else axis)))
        stated = axis in overlap
        able = sum((_able(t, share, stated) for t in mine), zero)
        limit = np.minimum(spare, window) if axis == "cp" else spare
        hidden = np.minimum(able, limit)
        exposed[axis] = seconds - hidden
        hidden_total = hidden_total + hidden
        spare = spare - hidden
    contention = sizes.job.framework.overlap_slowdown * hidden_total
    busy = compute + recompute + late + contention
    device = busy + sum(exposed.values(), zero)
    routed = routed + exposed["ep"] + exposed["etp"]
    launched = host.total + out_of_step(sizes, transfers)
    in_turns = sizes.job.cluster.accelerator.synchronous or sizes.job.training.launch_blocking
    waits = np.maximum(late_launches(device, launched, in_turns=in_turns), routed_wait_s(host, routed))
    return PassPrice(busy, recompute, contention, exposed, waits, hidden_total)


def _able(transfer: Transfer, share: float, stated: bool) -> FloatArray:
    """Seconds of a transfer that overlap with computation as far as there is some, by the user's or the profile's share."""
    if transfer.exchange.axis == "ulysses":
        return np.zeros_like(transfer.seconds)
    if transfer.axis != "tp" or stated:
        return share * transfer.seconds
    inside = transfer.spread.domains[:, 0] <= 1
    return np.where(inside, share, min(share, BULK_SHARE)) * transfer.seconds
