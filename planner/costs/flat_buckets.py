"""Gradient buckets of flat buffers, exactly: whole parameters packed in the order in which backward makes their gradients.

Megatron-LM's rule (core/distributed/param_and_grad_buffer.py): the parameters of a model chunk in reverse order; a bucket
closes when it holds at least the bucket size, and is padded for the ranks that share it. Times come from equal buckets
(``replicas``): their bytes are the same, their calls nearly so.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from planner.costs.replicas import UPDATED
from planner.costs.sizes import local_parameter
from planner.costs.stages import StageClass, StageGroup, stage_blocks
from planner.costs.states import gradient_bytes, shard_groups, tied_elsewhere
from planner.jobs.prediction import CommunicationRow
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.models.graph import Block, Parameter

AXES = ("dp", "edp")

Atoms = Mapping[str, list[int]]
"""Axis -> elements of what is packed as one, in the order of the modules."""


@dataclass(frozen=True)
class Bucket:
    """Elements of its parameters, and of them with the padding."""

    elements: int
    padded: int


def packed(atoms: Iterable[int], limit: float, ranks: int) -> Iterator[Bucket]:
    """Buckets of parameters that come in this order.

    Args:
        atoms: elements of each. limit: elements at which a bucket closes. ranks: that share a bucket.
    """
    held = 0
    for elements in atoms:
        held += elements
        if held >= limit:
            yield Bucket(held, -(-held // ranks) * ranks)
            held = 0
    if held:
        yield Bucket(held, -(-held // ranks) * ranks)


def in_buckets(
    job: Job, row: Layouts, group: StageGroup, stage: StageClass, rows: Collection[CommunicationRow]
) -> Iterator[CommunicationRow]:
    """Traffic of a rank's states with the calls and bytes of its buckets instead of equal ones.

    Sharded gradients travel by unit in each micro-batch, so updated weights are gathered by unit too.

    Args:
        row: a single layout. rows: of its data-parallel axes; unchanged where states are not in flat buffers.
    """
    size = float(job.training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes))
    if size == 0.0 or job.framework.shard_runtime != "zero":
        yield from rows
        return
    scattered = int(row.columns["shard_gradients"][0]) > 1
    limit = None if scattered else size / gradient_bytes(job)[1]
    buckets = _stage_buckets(job, row, group, stage, limit)
    for item in rows:
        if scattered and item.what != UPDATED:
            yield item
        else:
            yield from _parted(item, buckets[item.axis])


def _parted(item: CommunicationRow, counts: Counter[Bucket]) -> Iterator[CommunicationRow]:
    """All bytes of a row in buckets of their own sizes."""
    whole = sum(bucket.elements * count for bucket, count in counts.items())
    width = item.bytes_per_call * item.calls_per_step / whole
    for bucket, count in counts.items():
        share = bucket.elements * count / whole
        yield dataclasses.replace(
            item,
            bytes_per_call=bucket.padded * width,
            calls_per_step=float(count),
            seconds=item.seconds * share,
        )


def _stage_buckets(
    job: Job, row: Layouts, group: StageGroup, stage: StageClass, limit: float | None
) -> dict[str, Counter[Bucket]]:
    """Axis -> how many of each; every virtual stage has its own. Without a ``limit`` each block is one."""
    groups = shard_groups(row)
    ranks = {"dp": int(groups.dense.optimizer[0]), "edp": int(groups.expert.optimizer[0])}
    tables = {parameter.name for parameter in tied_elsewhere(job.model, stage)}
    atoms = {name: _atoms(job, block, row, tables) for name, block in job.model.blocks.items()}
    found: dict[str, Counter[Bucket]] = {axis: Counter() for axis in AXES}
    for blocks in chunk_blocks(job, row, group, stage):
        for axis in AXES:
            if limit is None:
                order = [sum(atoms[name][axis]) for name in blocks]
            else:
                order = [elements for name in blocks for elements in atoms[name][axis]]
            found[axis].update(packed(reversed(order), limit or 1.0, ranks[axis]))
    return found


def chunk_blocks(job: Job, row: Layouts, group: StageGroup, stage: StageClass) -> list[list[str]]:
    """Blocks of each virtual stage of a rank."""
    chunks = {0: group.vpp, 1: 2, 2: 1}[group.placement]
    shares = row.partitions[int(row.columns["partition"][0])]
    blocks = stage_blocks(job.model, group.pp * chunks, shares)
    return [blocks[index] for index in stage.virtual_stages]


def _atoms(job: Job, block: Block, row: Layouts, tables: Collection[str]) -> Atoms:
    """Parameters of a block; projections of one input are one where the profile fuses them.

    Args:
        tables: tied parameters that the rank stores a copy of.
    """
    fused = "qkv" in job.framework.fusions
    found: dict[str, dict[str, int]] = {axis: {} for axis in AXES}
    for name, parameter in block.parameters.items():
        if parameter.tied_to is not None and parameter.tied_to not in tables:
            continue
        sizes = found["edp" if "experts" in parameter.axis_names else "dp"]
        for key, elements in _parts(parameter, name, row, fused):
            sizes[key] = sizes.get(key, 0) + elements
    return {axis: list(sizes.values()) for axis, sizes in found.items()}


def _parts(parameter: Parameter, name: str, row: Layouts, fused: bool) -> Iterator[tuple[str, int]]:
    elements = int(local_parameter(parameter.axes, row)[0])
    projection, _, kind = name.rpartition("_")
    if fused:
        yield (f"qkv_{kind}" if projection in ("q", "k", "v") else name), elements
        return
    halves = next((axis.size or 1 for axis in parameter.axes if axis.name == "gated"), 1)
    count = 1 if "experts" in parameter.axis_names else halves
    yield from ((f"{name} {part}", elements // count) for part in range(count))
