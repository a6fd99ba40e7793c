"""What layers cost on each pipeline rank of a layout, by the calibrated cost model, as a stage problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.costs.memory import stage_memory
from planner.costs.prices import PriceRows, price_model
from planner.costs.stages import (
    StageClass,
    StageGroup,
    stage_blocks,
    stage_classes,
    stage_groups,
    virtual_stages_of,
)
from planner.costs.step import stage_times
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts, from_layouts
from planner.solvers.stages.coupled import CoupledProblem, coupled_problem
from planner.solvers.stages.instance import Flags, Floats, Ints, stage_problem

MODES = ("plain", "recomputed")


@dataclass(frozen=True, eq=False)
class PricedLayout:
    """A layout whose ranks can be priced with any layers on them.

    Args:
        layout: with its recompute policy on, whether layers follow it or not.
        row, prices: of that layout.
        kind: placement of virtual stages on ranks.
        layer_types: names of the blocks that are layers; types: (L,) type of each layer.
    """

    job: Job
    layout: Layout
    row: Layouts
    prices: PriceRows
    kind: int
    layer_types: tuple[str, ...]
    types: Ints

    @property
    def virtual_stages(self) -> int:
        return self.layout.pp * self.layout.vpp

    @property
    def rank_of(self) -> Ints:
        """(virtual stages,) pipeline rank of each."""
        found = np.empty(self.virtual_stages, np.int64)
        for rank in range(self.layout.pp):
            found[list(virtual_stages_of(rank, self.layout.pp, self.layout.vpp, self.kind))] = rank
        return found

    def ranks(self, cuts: Sequence[int], recomputed: Sequence[int]) -> tuple[StageClass, ...]:
        """What each rank owns when the layers are cut so and the first layers of each rank are recomputed."""
        shares = tuple(np.diff(cuts).tolist())
        return stage_classes(
            self.job.model,
            self.layout.pp,
            self.layout.vpp,
            shares,
            tuple(recomputed),
            self.kind,
            every_rank=True,
        )

    def used_bytes(self, stages: Iterable[StageClass]) -> Floats:
        """Device memory of each, context included."""
        memories = (stage_memory(self.job, self.row, self.prices, stage) for stage in stages)
        return np.array([float(memory.used[0]) for memory in memories])

    def seconds(self, stages: Sequence[StageClass]) -> tuple[Floats, Floats]:
        """Of each: seconds per micro-batch, forward and backward, and seconds once per step."""
        group = StageGroup(np.zeros(1, np.int64), self.layout.pp, self.layout.vpp, tuple(stages), self.kind)
        times = stage_times(self.job, self.row, self.prices, group)
        paced = np.array([float(time.paced[0][0] + time.paced[1][0]) for time in times])
        busy = np.array([float(time.busy[0]) for time in times])
        return paced, np.maximum(busy - self.layout.micro_batches * paced, 0.0)


def priced_layout(job: Job, layout: Layout) -> PricedLayout:
    """Prices of a layout with a recompute policy that not all its layers need follow."""
    row = from_layouts([layout])
    group = next(stage_groups(row, job.model))
    layers = [name for name in job.model.order if job.model.blocks[name].kind == "layer"]
    names = tuple(dict.fromkeys(layers))
    types = np.array([names.index(name) for name in layers], np.int64)
    prices = price_model(job, row).rows(row)
    return PricedLayout(job, layout, row, prices, group.placement, names, types)


def stage_tables(priced: PricedLayout, cuts: Sequence[int], recomputed: Sequence[int]) -> CoupledProblem:
    """The layout's stage problem, linear around one cut: what one layer more of each type costs each rank.

    The cost model is linear in a rank's layers but for the largest layer's buffers and for traffic that hides behind passes;
    what these leave over at the cut itself is fixed, so that there the problem's seconds and bytes are the model's own.
    Every rank is a device class of its own, since micro-batches in flight and what stands beside the layers differ.
    """
    base = priced.ranks(cuts, recomputed)
    seconds, once = priced.seconds(base)
    used = priced.used_bytes(base)
    shape = (len(base), len(priced.layer_types), len(MODES))
    times, held, once_more = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for kind, name in enumerate(priced.layer_types):
        for mode in range(len(MODES)):
            more = [_with_one_more(stage, name, mode == 1) for stage in base]
            longer = priced.seconds(more)
            times[:, kind, mode] = longer[0] - seconds
            once_more[:, kind, mode] = longer[1] - once
            held[:, kind, mode] = priced.used_bytes(more) - used
    times, held, per_step = (np.maximum(table, 0.0) for table in (times, held, once_more.min(axis=2)))
    counts = _counts(base, priced.layer_types)
    rank = priced.rank_of
    beside = _beside(priced, cuts)
    rest = seconds - (times * counts).sum(axis=(1, 2)) - np.bincount(rank, beside)
    fixed_s = beside + rest[rank] / priced.layout.vpp
    fixed_bytes = used - (held * counts).sum(axis=(1, 2))
    fixed_once = once - (per_step * counts.sum(axis=2)).sum(axis=1)
    room = (1.0 - priced.job.search.memory_reserve) * priced.job.cluster.accelerator.memory_bytes
    stages = stage_problem(
        priced.types,
        times,
        held,
        np.full(priced.virtual_stages, room),
        priced.layout.micro_batches,
        once_s=per_step,
        stage_class=rank,
        in_flight=np.ones(priced.virtual_stages),
        fixed_s=np.maximum(fixed_s, 0.0),
        fixed_bytes=fixed_bytes[rank] / priced.layout.vpp,
        fixed_once_s=np.maximum(fixed_once, 0.0)[rank] / priced.layout.vpp,
        may_be_empty=_alone(priced),
    )
    return coupled_problem(stages, rank)


def _alone(priced: PricedLayout) -> Flags:
    """(virtual stages,) whether the stage may do without layers: the last one, where it has the head (the embedding goes with
    the first layer)."""
    model = priced.job.model
    empty = np.zeros(priced.virtual_stages, np.bool_)
    empty[-1] = model.blocks[model.order[-1]].kind != "layer"
    return empty


def _with_one_more(stage: StageClass, name: str, recomputed: bool) -> StageClass:
    if recomputed:
        return replace(stage, recomputed=Counter(stage.recomputed) + Counter({name: 1}))
    return replace(stage, plain=Counter(stage.plain) + Counter({name: 1}))


def _counts(base: Sequence[StageClass], names: Sequence[str]) -> Ints:
    """(ranks, types, modes) layers."""
    return np.array(
        [[[part.get(name, 0) for part in (s.plain, s.recomputed)] for name in names] for s in base]
    )


def _beside(priced: PricedLayout, cuts: Sequence[int]) -> Floats:
    """(virtual stages,) seconds per micro-batch of what is no layer: embedding, MTP, head with loss."""
    model = priced.job.model
    blocks = stage_blocks(model, priced.virtual_stages, tuple(np.diff(cuts).tolist()))
    prices = priced.prices
    return np.array(
        [
            sum(
                float(prices.get(name, quantity, recomputed=False)[0])
                for name in names
                if model.blocks[name].kind != "layer"
                for quantity in ("forward_s", "backward_s")
            )
            for names in blocks
        ]
    )
