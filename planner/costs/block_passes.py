"""Passes of one block under a recompute policy: what of its communication computation hides, and what runs again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.costs.block_price import AXES, BlockPrice, PassPrice
from planner.costs.host import ROUTED, HostWork, collective_launches_s, host_work, routed_wait_s
from planner.costs.kept_outputs import kept_outputs
from planner.costs.late import late_launches, out_of_step
from planner.costs.operators import OperatorCost
from planner.costs.saved import BlockMemory, block_memory, fixed_memory
from planner.costs.sizes import FloatArray, Sizes
from planner.costs.transfers import Transfer
from planner.costs.windows import BULK_SHARE, product_s
from planner.jobs.framework import Framework
from planner.layouts.layout import Recompute
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator


@dataclass(frozen=True)
class Part:
    """Rows of a block whose collectives are the same, with all that no recompute policy changes.

    Args:
        launched: sizes that launches go by. costs: of every operator.
    """

    block: Block
    sizes: Sizes
    launched: Sizes
    derivation: Derivation
    costs: Mapping[str, OperatorCost]
    transfers: tuple[Transfer, ...]

    def total(self, name: str) -> FloatArray:
        """A quantity of all operators."""
        return self.sum_of(name, [operator.name for operator in self.block.operators])

    def sum_of(self, name: str, operators: Collection[str]) -> FloatArray:
        """A quantity of some operators, in their order."""
        return sum((getattr(self.costs[one], name) for one in operators), np.zeros(len(self.sizes.layouts)))

    def moved(self, pass_: str) -> list[Transfer]:
        """Transfers of a pass, or of the optimizer."""
        return [transfer for transfer in self.transfers if transfer.exchange.pass_ == pass_]

    @cached_property
    def core(self) -> list[str]:
        """Operators that a ring hides behind."""
        return [o.name for o in self.block.operators if o.kind in ("attention", "scan")]

    @cached_property
    def windows(self) -> tuple[FloatArray, FloatArray]:
        """Seconds of these, forward and backward."""
        return self.sum_of("forward_s", self.core), self.sum_of("input_gradient_s", self.core)

    @cached_property
    def inputs(self) -> FloatArray:
        """Seconds of input gradients."""
        return self.total("input_gradient_s")

    @cached_property
    def weights(self) -> FloatArray:
        """Seconds of weight gradients."""
        return self.total("weight_gradient_s")

    @cached_property
    def routed(self) -> FloatArray:
        """Seconds of the forward pass between the dispatch of rows and their combination."""
        return self.sum_of("forward_s", [o.name for o in self.block.operators if o.module in ROUTED])

    @cached_property
    def flops(self) -> tuple[FloatArray, FloatArray]:
        """Forward and backward."""
        return self.total("forward_flops"), self.total("backward_flops")

    @cached_property
    def host_backward(self) -> HostWork:
        """Of a backward pass in which nothing runs again."""
        return self.launches(self.block.operators, backward=True)

    @cached_property
    def forward(self) -> PassPrice:
        """The forward pass."""
        host = self.launches(self.block.operators, backward=False)
        nothing = np.zeros(len(self.sizes.layouts))
        return _pass(self, self.total("forward_s"), nothing, self.windows[0], self.moved("forward"), host)

    @cached_property
    def memory(self) -> BlockMemory:
        """Of the block when nothing runs again."""
        return fixed_memory(self.block, self.derivation, self.sizes)

    def launches(self, operators: Sequence[Operator], *, backward: bool) -> HostWork:
        """Host work of some operators."""
        return host_work(self.block, self.costs, self.launched, operators, backward=backward)


def recomputed_operators(block: Block, policy: Recompute, framework: Framework) -> tuple[Operator, ...]:
    """Operators whose forward runs again in backward."""
    if block.kind != "layer" or policy.mode == "none":
        return ()
    reached = block.operators
    if framework.recompute_drops_unread:
        reached = _read_by_backward(block)
    elif framework.recompute_stops_early and policy.mode == "full":
        reached = _until_last_matmul(block)
    return tuple(o for o in reached if policy.mode == "full" or o.module in policy.modules)


def _read_by_backward(block: Block) -> tuple[Operator, ...]:
    """What a compiler leaves of a repeated layer: operators whose output backward reads, or one of these operators.

    Outputs that only enter the residual sum are not read: the last product of a layer, in a parallel block of both branches.
    """
    read = {name for operator in block.operators for name in operator.saves}
    left: list[Operator] = []
    for operator in reversed(block.operators):
        if operator.output in read:
            left.append(operator)
            read.update(operator.inputs)
    return tuple(reversed(left))


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


def price_policy(part: Part, policy: Recompute) -> BlockPrice:
    """The price of some rows of a block under a recompute policy."""
    block, sizes, framework = part.block, part.sizes, part.sizes.job.framework
    again = {o.name for o in recomputed_operators(block, policy, framework)}
    repeated = tuple(_again(t, again, framework, policy) for t in part.transfers)
    redone = [o for o in block.operators if o.name in again]
    dropped = _dropped(block, framework, policy, again)

    def repeated_total(name: str) -> FloatArray:
        shares = (share * getattr(part.costs[operator], name) for operator, share in dropped.items())
        return sum(shares, part.sum_of(name, [o.name for o in redone]))

    recompute, host = repeated_total("forward_s"), part.host_backward
    window_f, window = part.windows
    if set(part.core) & again:
        window = window + window_f
    moved = part.moved("backward")
    moved += [t for t, again_too in zip(part.transfers, repeated, strict=True) if again_too]
    if redone:
        host = host.and_again(part.launches(redone, backward=False))
    backward = _pass(part, part.inputs + part.weights, recompute, window, moved, host)
    split = _pass(part, part.inputs, recompute, window, moved, host, late=part.weights)
    nothing = np.zeros(len(sizes.layouts))
    return BlockPrice(
        forward=part.forward,
        backward=backward,
        split=split,
        weight_gradient_s=part.weights,
        forward_flops=part.flops[0],
        backward_flops=part.flops[1],
        recompute_flops=repeated_total("forward_flops"),
        step_exchange_s=sum((t.seconds for t in part.moved("optimizer")), nothing),
        memory=block_memory(block, part.derivation, sizes, again, policy, part.memory),
        transfers=part.transfers,
        repeated=repeated,
    )


def _pass(
    part: Part,
    compute: FloatArray,
    recompute: FloatArray,
    window: FloatArray,
    transfers: Sequence[Transfer],
    host: HostWork,
    late: FloatArray | float = 0.0,
) -> PassPrice:
    """Exposed and hidden communication of one pass.

    Transfers hide behind computation by the framework's share for their kind, but no two behind the same computation:
    what one hides is no longer there for the next. ``late`` computation runs at another time and hides nothing. A ring
    hides behind the attention core only; Ulysses' all-to-alls have nothing to hide behind.
    """
    sizes = part.sizes
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
        able = sum((_able(t, part, share, stated) for t in mine), zero)
        limit = np.minimum(spare, window) if axis == "cp" else spare
        hidden = np.minimum(able, limit)
        exposed[axis] = seconds - hidden
        hidden_total = hidden_total + hidden
        spare = spare - hidden
    contention = sizes.job.framework.overlap_slowdown * hidden_total
    busy = compute + recompute + late + contention
    device = busy + sum(exposed.values(), zero)
    routed = part.routed + exposed["ep"] + exposed["etp"]
    launched = host.total + collective_launches_s(sizes, transfers) + out_of_step(sizes, transfers)
    in_turns = sizes.job.cluster.accelerator.synchronous or sizes.job.training.launch_blocking
    waits = np.maximum(late_launches(device, launched, in_turns=in_turns), routed_wait_s(host, routed))
    return PassPrice(busy, recompute, contention, exposed, waits, hidden_total)


def _able(transfer: Transfer, part: Part, share: float, stated: bool) -> FloatArray:
    """Seconds of a transfer that overlap with computation as far as there is some, by the user's or the profile's share."""
    if transfer.exchange.axis == "ulysses":
        return np.zeros_like(transfer.seconds)
    if transfer.axis != "tp" or stated:
        return share * transfer.seconds
    beside = np.minimum(transfer.seconds, product_s(transfer.exchange, part.block, part.costs))
    return np.where(transfer.inside, share * beside, min(share, BULK_SHARE) * transfer.seconds)
