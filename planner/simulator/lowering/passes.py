"""What every pass of every virtual stage costs, block by block: computation, and collectives hidden or exposed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.costs.block_price import AXES, BlockPrice, PassPrice
from planner.costs.collectives import CollectiveCost
from planner.costs.prices import PriceRows, price_model
from planner.costs.stages import StageClass, stage_blocks
from planner.costs.transfers import Transfer
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts, from_layouts
from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Schedule


@dataclass(frozen=True)
class Moved:
    """Transfers that follow each other on one axis.

    Args:
        seconds: alone on the network, latency included.
        latency_s: the part that does not depend on the bytes.
        nbytes: bytes that one device sends through its links of each level.
    """

    seconds: float = 0.0
    latency_s: float = 0.0
    nbytes: tuple[float, ...] = ()

    def __add__(self, other: Moved) -> Moved:
        if not self.nbytes or not other.nbytes:
            levels = self.nbytes or other.nbytes
        else:
            levels = tuple(a + b for a, b in zip(self.nbytes, other.nbytes, strict=True))
        return Moved(self.seconds + other.seconds, self.latency_s + other.latency_s, levels)

    def share(self, fraction: float) -> Moved:
        """That fraction of it."""
        return Moved(
            fraction * self.seconds, fraction * self.latency_s, tuple(fraction * b for b in self.nbytes)
        )


def _add(a: Mapping[str, Moved], b: Mapping[str, Moved]) -> dict[str, Moved]:
    return {axis: a.get(axis, Moved()) + b.get(axis, Moved()) for axis in {**a, **b}}


@dataclass(frozen=True)
class PassCost:
    """One pass of one block, or of several in a row.

    Args:
        compute_s: recompute included, without the slow-down by overlapped traffic.
        recompute_s: of it the repeated forward work.
        host_s: what launches need beyond computation and exposed traffic.
        hidden, exposed: by axis, the traffic that runs beside computation, and the traffic that the pass waits for.
    """

    compute_s: float = 0.0
    recompute_s: float = 0.0
    host_s: float = 0.0
    hidden: Mapping[str, Moved] = field(default_factory=dict)
    exposed: Mapping[str, Moved] = field(default_factory=dict)

    def __add__(self, other: PassCost) -> PassCost:
        return PassCost(
            self.compute_s + other.compute_s,
            self.recompute_s + other.recompute_s,
            self.host_s + other.host_s,
            _add(self.hidden, other.hidden),
            _add(self.exposed, other.exposed),
        )

    def share(self, fraction: float) -> PassCost:
        """That fraction of it."""
        if fraction == 1.0:
            return self
        return PassCost(
            fraction * self.compute_s,
            fraction * self.recompute_s,
            fraction * self.host_s,
            {axis: moved.share(fraction) for axis, moved in self.hidden.items()},
            {axis: moved.share(fraction) for axis, moved in self.exposed.items()},
        )

    @property
    def seconds(self) -> float:
        """Alone on the network, where what is hidden stays hidden."""
        return self.compute_s + self.host_s + sum(moved.seconds for moved in self.exposed.values())


def total(costs: Iterable[PassCost]) -> PassCost:
    """The passes one after the other."""
    return sum(costs, PassCost())


@dataclass(frozen=True)
class BlockCost:
    """One block instance of a virtual stage.

    Args:
        forward, backward: fused passes; input_gradient and weight_gradient: those of a split backward.
        exchange: sums of its weight gradients over tp, once per step.
        dense, expert: local parameter elements, for its share of data-parallel traffic.
        saved_bytes: what a micro-batch keeps for backward.
    """

    forward: PassCost
    backward: PassCost
    input_gradient: PassCost
    weight_gradient: PassCost
    exchange: Moved
    dense: float
    expert: float
    saved_bytes: float


@dataclass(frozen=True)
class StageCosts:
    """A model stage: its blocks in order, and what one hop carries away from it.

    Args:
        names: of the blocks, with whether they follow the recompute policy.
    """

    names: tuple[tuple[str, bool], ...]
    blocks: tuple[BlockCost, ...]
    stream_bytes: float

    @property
    def saved_bytes(self) -> float:
        """What a micro-batch keeps for backward."""
        return sum(block.saved_bytes for block in self.blocks)


@dataclass(frozen=True)
class PricedLayout:
    """One layout with its prices and what each pipeline rank and model stage owns.

    Args:
        row: the layout as a batch of one; prices: of its blocks.
        ranks: by pipeline rank, the blocks that it stores.
        stages: by model stage.
    """

    job: Job
    layout: Layout
    row: Layouts
    prices: PriceRows
    ranks: tuple[StageClass, ...]
    stages: tuple[StageCosts, ...]


def price_layout(job: Job, layout: Layout, schedule: Schedule) -> PricedLayout:
    """Prices of all passes of a layout under a schedule.

    Args:
        job: with the sequence length that is priced.
    """
    row = from_layouts([layout])
    prices = price_model(job, row).rows(row)
    owned = [_owned_stages(schedule, rank) for rank in range(schedule.ranks)]
    count = int(schedule.model_stage.max()) + 1
    names = stage_blocks(job.model, count, layout.layers_per_stage)
    flags = _recomputed(job, layout, owned, names)
    known: dict[tuple[str, bool], BlockCost] = {}
    stages = []
    for blocks, again in zip(names, flags, strict=True):
        keys = list(zip(blocks, again, strict=True))
        for key in keys:
            if key not in known:
                known[key] = _block_cost(prices, *key)
        streams = [float(prices.get(name, "stream", recomputed=flag)[0]) for name, flag in keys]
        stages.append(StageCosts(tuple(keys), tuple(known[key] for key in keys), max(streams, default=0.0)))
    ranks = tuple(_rank_class(job, rank, mine, names, flags, count) for rank, mine in enumerate(owned))
    return PricedLayout(job, layout, row, prices, ranks, tuple(stages))


def stage_passes(priced: PricedLayout, *, split: bool) -> StagePasses:
    """Seconds of every stage's passes, for schedules whose order follows them.

    Args:
        split: whether the backward pass is split.
    """
    stages = [stage.blocks for stage in priced.stages]
    forward = [total(block.forward for block in blocks).seconds for blocks in stages]
    if not split:
        return StagePasses(forward, [total(block.backward for block in blocks).seconds for blocks in stages])
    inputs = [total(block.input_gradient for block in blocks).seconds for blocks in stages]
    weights = [total(block.weight_gradient for block in blocks).seconds for blocks in stages]
    return StagePasses(forward, inputs, weights)


def with_length(priced: PricedLayout, schedule: Schedule, seq_len: int) -> PricedLayout:
    """The same layout on sequences of another length."""
    training = dataclasses.replace(priced.job.training, seq_len=seq_len)
    return price_layout(dataclasses.replace(priced.job, training=training), priced.layout, schedule)


def _owned_stages(schedule: Schedule, rank: int) -> tuple[int, ...]:
    """Model stages that a rank stores, in the order of its virtual stages."""
    return tuple(dict.fromkeys(schedule.model_stage[schedule.rank_of == rank].tolist()))


def _recomputed(
    job: Job, layout: Layout, owned: Sequence[tuple[int, ...]], names: Sequence[Sequence[str]]
) -> list[list[bool]]:
    """For every block of every model stage whether it follows the recompute policy: the first n layers of a rank do."""
    flags = [[False] * len(blocks) for blocks in names]
    for rank, mine in enumerate(owned):
        left = layout.recomputed_on(rank, job.model.layers)
        for stage in mine:
            for place, name in enumerate(names[stage]):
                if job.model.blocks[name].kind == "layer" and left > 0:
                    flags[stage][place] = True
                    left -= 1
    return flags


def _rank_class(
    job: Job,
    rank: int,
    mine: tuple[int, ...],
    names: Sequence[Sequence[str]],
    flags: Sequence[Sequence[bool]],
    count: int,
) -> StageClass:
    recomputed: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for stage in mine:
        for name, again in zip(names[stage], flags[stage], strict=True):
            (recomputed if again else plain)[name] += 1
    return StageClass((rank,), recomputed, plain, mine, 0 in mine, count - 1 in mine)


def _block_cost(prices: PriceRows, name: str, recomputed: bool) -> BlockCost:
    table = prices.prices
    policy = int(prices.policy[0]) if recomputed else len(table.policies) - 1
    price: BlockPrice = table.blocks[name][policy]
    forward = [t for t in price.transfers if t.exchange.pass_ == "forward"]
    backward = [t for t in price.transfers if t.exchange.pass_ == "backward"]
    backward += [t for t, again in zip(price.transfers, price.repeated, strict=True) if again]
    weight_s = float(price.weight_gradient_s[0])
    split = _pass_cost(price.split, backward)
    return BlockCost(
        forward=_pass_cost(price.forward, forward),
        backward=_pass_cost(price.backward, backward),
        input_gradient=dataclasses.replace(split, compute_s=split.compute_s - weight_s),
        weight_gradient=PassCost(compute_s=weight_s),
        exchange=sum((_moved(t) for t in price.transfers if t.exchange.pass_ == "optimizer"), Moved()),
        dense=float(price.memory.dense_parameters[0]),
        expert=float(price.memory.expert_parameters[0]),
        saved_bytes=float(price.memory.saved_bytes[0]),
    )


def _pass_cost(price: PassPrice, transfers: Sequence[Transfer]) -> PassCost:
    hidden, exposed = {}, {}
    for axis in AXES:
        moved = sum((_moved(t) for t in transfers if t.axis == axis), Moved())
        if moved.seconds <= 0.0:
            continue
        waited = min(float(price.exposed[axis][0]) / moved.seconds, 1.0)
        if waited > 0.0:
            exposed[axis] = moved.share(waited)
        if waited < 1.0:
            hidden[axis] = moved.share(1.0 - waited)
    contention = float(price.contention_s[0])
    return PassCost(
        float(price.compute_s[0]) - contention,
        float(price.recompute_s[0]),
        float(price.host_s[0]),
        hidden,
        exposed,
    )


def _moved(transfer: Transfer) -> Moved:
    return moved_by(transfer.cost, float(transfer.calls[0]))


def moved_by(cost: CollectiveCost, calls: float = 1.0) -> Moved:
    """``calls`` calls of a collective, of a batch of one."""
    return Moved(
        calls * float(cost.seconds[0]),
        calls * float(cost.latency_s[0]),
        tuple(calls * nbytes for nbytes in cost.bytes_per_level[0].tolist()),
    )
