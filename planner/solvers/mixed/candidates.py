"""Pipelines over several groups, each a way per group, with a bound of their step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.hops import HopTimes
from planner.costs.sizes import FloatArray
from planner.costs.stages import stage_blocks
from planner.layouts.layouts import IntArray
from planner.models.graph import ModelGraph
from planner.solvers.bounds import SLACK
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.links import Hops, crossing_hops, inner_hops, pipeline_hops, tied_seconds
from planner.solvers.mixed.ways import Ways


@dataclass(frozen=True)
class Side:
    """What pipelines need of one group's ways, each (ways,).

    Args:
        inner: hops between its own stages.
        crossing: other group -> hops to or from it; ``tied``: the same of the tied tables' sum.
        kinds: block -> seconds of one instance; of the model's ends all blocks of ``first`` and ``last`` together.
    """

    ways: Ways
    inner: HopTimes
    crossing: Mapping[int, HopTimes]
    tied: Mapping[int, FloatArray]
    kinds: Mapping[str, FloatArray]
    first: FloatArray
    last: FloatArray


@dataclass(frozen=True)
class Candidates:
    """Pipelines over the groups of one order, (rows,) each unless stated.

    Args:
        order: groups from the first stage on.
        ways: (rows, groups), a way of each group.
        stages, micro_batches: of the whole pipeline.
        once: seconds that a cut of the layers does not change: short hops, and of them ``tied``, the tied tables' sum.
        hop: seconds of the longest hop that nothing hides.
        filled: seconds of messages that no pipeline can be shorter than.
        bound: no cut makes a shorter step.
    """

    order: tuple[int, ...]
    ways: IntArray
    stages: IntArray
    micro_batches: IntArray
    once: FloatArray
    tied: FloatArray
    hop: FloatArray
    filled: FloatArray
    bound: FloatArray

    def __len__(self) -> int:
        return len(self.bound)


def side_of(mixed: MixedJob, place: int, ways: Ways) -> Side:
    """A group's ways, priced for pipelines."""
    others = {other: mixed.between(place, other) for other in range(len(mixed.jobs)) if other != place}
    seconds = ways.layer_seconds
    first, middle, last = _ends(ways.job.model)
    return Side(
        ways,
        inner_hops(ways),
        {other: crossing_hops(ways, level) for other, level in others.items()},
        {other: tied_seconds(ways, level) for other, level in others.items()},
        {name: seconds[name] for name in middle},
        _sum(seconds, first, len(ways)),
        _sum(seconds, last, len(ways)),
    )


def even_bound(sides: Mapping[int, Side], item: Candidates) -> FloatArray:
    """The bound of candidates whose stages own equally many layers, give or take one."""
    mine = [sides[place] for place in item.order]
    model = mine[0].ways.job.model
    layers = [name for name, block in model.blocks.items() if block.kind == "layer"]
    each = (
        np.column_stack(
            [
                np.min([side.kinds[name] for name in layers if name in side.kinds], axis=0)[
                    item.ways[:, place]
                ]
                for place, side in enumerate(mine)
            ]
        )
        * (model.layers // item.stages)[:, None]
    )
    passes = (_stages(mine, item.ways) * each).sum(axis=1) + (item.micro_batches - 1) * each.max(axis=1)
    bound: FloatArray = np.maximum(item.bound, (passes + item.once) * SLACK)
    return bound


def _ends(model: ModelGraph) -> tuple[list[str], Counter[str], list[str]]:
    """Blocks that every first stage and every last stage owns beside layers, and counts of all other blocks."""
    atoms = stage_blocks(model, model.layers, None)
    first = [name for name in atoms[0] if model.blocks[name].kind != "layer"]
    last = [name for name in atoms[-1] if model.blocks[name].kind != "layer"] if len(atoms) > 1 else []
    middle = Counter(model.order)
    middle.subtract(first)
    middle.subtract(last)
    return first, Counter({name: count for name, count in middle.items() if count}), last


def _sum(seconds: Mapping[str, FloatArray], names: Sequence[str], ways: int) -> FloatArray:
    return sum((seconds[name] for name in names), np.zeros(ways))


def candidates(sides: Mapping[int, Side], order: tuple[int, ...]) -> Candidates:
    """All pipelines over the groups in that order: ways of equally many micro-batches, at most one stage per layer."""
    mine = [sides[place] for place in order]
    model = mine[0].ways.job.model
    common = set.intersection(*(set(side.ways.micro_batches.tolist()) for side in mine))
    parts = [
        np.stack(
            np.meshgrid(*(np.flatnonzero(side.ways.micro_batches == m) for side in mine), indexing="ij"), -1
        ).reshape(-1, len(mine))
        for m in sorted(common)
    ]
    ways = np.concatenate([np.zeros((0, len(mine)), dtype=np.int64), *parts])
    stages = _stages(mine, ways).sum(axis=1)
    ways, stages = ways[stages <= model.layers], stages[stages <= model.layers]
    micro_batches = mine[0].ways.micro_batches[ways[:, 0]]
    hops = _hops(mine, order, ways, stages, micro_batches)
    ends = (mine[0].tied[order[-1]][ways[:, 0]], mine[-1].tied[order[0]][ways[:, -1]])
    tied = np.maximum(*ends)
    once = hops.waited + tied
    bound = np.maximum(_passes_bound(mine, ways, micro_batches, model) + once, hops.filled) * SLACK
    return Candidates(order, ways, stages, micro_batches, once, tied, hops.longest, hops.filled, bound)


def _stages(sides: Sequence[Side], ways: IntArray) -> IntArray:
    """(rows, groups) stages of each group."""
    return np.column_stack([side.ways.stages[ways[:, place]] for place, side in enumerate(sides)])


def _hops(
    sides: Sequence[Side], order: tuple[int, ...], ways: IntArray, stages: IntArray, micro_batches: IntArray
) -> Hops:
    """Hops inside the groups, and between neighbours as the slower side sends or receives them."""
    once, longest, sending = (np.zeros(len(ways)) for _ in range(3))
    for place, side in enumerate(sides):
        rows = ways[:, place]
        once = once + (side.ways.stages[rows] - 1) * side.inner.total[rows]
        longest, sending = (
            np.maximum(longest, side.inner.total[rows]),
            np.maximum(sending, side.inner.sending[rows]),
        )
    for place in range(len(sides) - 1):
        this = sides[place].crossing[order[place + 1]]
        that = sides[place + 1].crossing[order[place]]
        rows, after = ways[:, place], ways[:, place + 1]
        hop = np.maximum(this.total[rows], that.total[after])
        once, longest = once + hop, np.maximum(longest, hop)
        sending = np.maximum(sending, np.maximum(this.sending[rows], that.sending[after]))
    return pipeline_hops(sides[0].ways.job, stages, micro_batches, HopTimes(longest, sending), once)


def _passes_bound(
    sides: Sequence[Side], ways: IntArray, micro_batches: IntArray, model: ModelGraph
) -> FloatArray:
    """Seconds of passes that no cut of the layers goes below: sum t + (m - 1) max t by weak duality.

    With weights w_k >= 0 and sum over groups of n_k w_k = m - 1, n_k its stages, (m - 1) max t is at least the sum of w_k t over
    the stages; so every layer costs at least the smallest (1 + w_k) times its seconds in group k. The weights that make a
    layer of the commonest kind equally dear in all groups are the best ones where layers are of one kind.
    """
    _, middle, _ = _ends(model)
    common = max(middle, key=lambda name: middle[name] * float(sides[0].kinds[name].max()))
    stages = _stages(sides, ways)
    speed = np.column_stack([side.kinds[common][ways[:, place]] for place, side in enumerate(sides)])
    extra = (micro_batches - 1.0)[:, None]
    level = (extra[:, 0] + stages.sum(axis=1)) / (stages / speed).sum(axis=1)
    weights = np.maximum(level[:, None] / speed - 1.0, 0.0)
    used = (stages * weights).sum(axis=1, keepdims=True)
    weights = np.where(used > 0, weights * extra / np.maximum(used, 1e-300), 0.0)
    total = (1.0 + weights[:, 0]) * sides[0].first[ways[:, 0]]
    total = total + (1.0 + weights[:, -1]) * sides[-1].last[ways[:, -1]]
    for name, count in middle.items():
        dear = [
            (1.0 + weights[:, place]) * side.kinds[name][ways[:, place]] for place, side in enumerate(sides)
        ]
        total = total + count * np.min(np.stack(dear), axis=0)
    return np.asarray(total)
