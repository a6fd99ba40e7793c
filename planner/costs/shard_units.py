"""Units in which the states of a rank are sharded: what one collective gathers or reduces.

fully_shard and FullyShardedDataParallel move the parameters of one wrapped module per collective. Recipes wrap each layer;
FSDP2's the embedding and the norm with the head besides, the latter not freed between forward and backward because backward
begins with it (pytorch/torchtitan, ``apply_fsdp``; modules that share a table must be one unit). FSDP1 keeps what no wrapped
module holds in its root, which is not freed either (torch/distributed/fsdp/_runtime_utils.py, ``_post_forward_reshard``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from planner.costs.elements import padding
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stage_three import pieces
from planner.costs.stages import StageClass
from planner.costs.states import tied_elsewhere
from planner.costs.tensors import Axis, block_tensors
from planner.jobs.framework import ShardRuntime
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.models.graph import ModelGraph

Amount = FloatArray | float


@dataclass(frozen=True)
class Part:
    """Parameters of a rank in ``count`` units; shape (rows,) or one number for all rows.

    Args:
        elements: local elements of all units.
        kept, kept_count: of them, elements and units that stay gathered from forward to backward.
        again, again_count: those gathered once more between recompute and backward.
        anew, anew_count: those gathered for recompute from all ranks even where there are secondary shards.
        small, small_count: those that are not sharded until they are updated; none of ``count``.
    """

    elements: FloatArray
    count: Amount
    kept: Amount = 0.0
    kept_count: Amount = 0.0
    again: Amount = 0.0
    again_count: Amount = 0.0
    anew: Amount = 0.0
    anew_count: Amount = 0.0
    small: Amount = 0.0
    small_count: Amount = 0.0

    @property
    def sharded(self) -> FloatArray:
        """Elements that are gathered for each pass."""
        return self.elements - self.small


_AMOUNTS = tuple(item.name for item in fields(Part) if item.name != "elements")


def whole(parts: Sequence[Part]) -> Part:
    """All units together, as if they were of one size."""
    return Part(
        np.sum([part.elements for part in parts], axis=0),
        **{name: sum((getattr(part, name) for part in parts), 0.0) for name in _AMOUNTS},
    )


@dataclass(frozen=True)
class StageParts:
    """Parts of a stage, one for each size of unit: dense parameters, and the routed experts' (never empty)."""

    dense: tuple[Part, ...]
    expert: tuple[Part, ...]

    @property
    def whole(self) -> StageParts:
        """The same with units of one size."""
        return StageParts((whole(self.dense),), (whole(self.expert),))


@dataclass(frozen=True)
class _Unit:
    """``count`` equal units of these blocks; ``kept``: not freed between forward and backward."""

    blocks: tuple[str, ...]
    count: int
    kept: bool


def stage_parts(job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass) -> StageParts:
    """What a stage stores, copies of tied parameters of other stages included, by unit.

    Args:
        layouts, prices: the same rows (usually distinct combinations of the knobs that matter).
    """
    borrowed = {parameter.tied_to: parameter for parameter in tied_elsewhere(job.model, stage)}
    dense, expert = [], []
    for unit in _units(job.model, stage, job.framework.shard_runtime):
        counts = dict.fromkeys(unit.blocks, unit.count)
        own, routed = (prices.total(kind, {}, counts) for kind in ("dense", "expert"))
        tables = [borrowed.pop(name) for name in _tied(job.model, unit) & borrowed.keys()]
        for table in tables:
            own = own + local_parameter(table.axes, layouts)
        more = padding(job, layouts, counts, tables)
        own, routed = own + more[0], routed + more[1]
        cut = _cut(job, layouts, stage, unit, {table.name for table in tables})
        if own.any():
            dense.append(Part(own, unit.count, own, unit.count) if unit.kept else cut(own, "dp"))
        if routed.any():
            expert.append(cut(routed, "edp"))
    nothing = (Part(np.zeros(len(layouts)), 1),)
    return StageParts(tuple(dense) or nothing, tuple(expert) or nothing)


def _cut(
    job: Job, layouts: Layouts, stage: StageClass, unit: _Unit, tables: Collection[str]
) -> Callable[[FloatArray, Axis], Part]:
    """Makes a part of some elements of a unit, cut into collectives as its framework does.

    Args:
        tables: tied parameters that the unit stores a copy of.
    """
    rules = job.framework.stage_three
    if rules is None:
        return lambda elements, axis: Part(elements, unit.count)
    (name,) = unit.blocks
    tensors = block_tensors(job, job.model.blocks[name], layouts, tables)
    n, again = unit.count, stage.recomputed.get(name, 0)

    def part(elements: FloatArray, axis: Axis) -> Part:
        one = pieces(rules, layouts, tensors, axis)
        return Part(
            elements,
            n * one.count,
            again=again * one.again,
            again_count=again * one.again_count,
            anew=again * one.anew,
            anew_count=again * one.anew_count,
            small=n * one.small,
            small_count=n * one.small_count,
        )

    return part


def _units(model: ModelGraph, stage: StageClass, runtime: ShardRuntime) -> Iterator[_Unit]:
    """Every block on its own, but for the blocks that the runtime puts into one unit."""
    counts = {name: stage.recomputed.get(name, 0) + stage.plain.get(name, 0) for name in model.blocks}
    together = tuple(name for name, count in counts.items() if count and _kept(model, name, runtime))
    for name, count in counts.items():
        if count and name not in together:
            yield _Unit((name,), count, kept=False)
    if together:
        yield _Unit(together, 1, kept=True)


def _kept(model: ModelGraph, name: str, runtime: ShardRuntime) -> bool:
    kind = model.blocks[name].kind
    if runtime == "fsdp1":
        return kind != "layer"
    return runtime == "fsdp2" and (kind == "head" or (kind == "embedding" and model.tied_embeddings))


def _tied(model: ModelGraph, unit: _Unit) -> set[str | None]:
    """Tables that blocks of a unit use without storing them."""
    return {p.tied_to for name in unit.blocks for p in model.blocks[name].parameters.values() if p.tied_to}
