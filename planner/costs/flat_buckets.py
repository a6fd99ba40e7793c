"""Gradient buckets of flat buffers, exactly: whole parameters packed in the order in which backward makes their gradients.

Megatron-LM's rule (core/distributed/param_and_grad_buffer.py): the parameters of a model chunk in reverse order; a bucket
closes when it holds at least the bucket size, and is padded for the ranks that share it. Times come from equal buckets
(``replicas``): their bytes are the same, their calls nearly so.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from planner.costs.replicas import UPDATED
from planner.costs.stages import StageClass, StageGroup, stage_blocks
from planner.costs.states import gradient_bytes, shard_groups, tied_elsewhere
from planner.costs.tensors import AXES, block_tensors
from planner.jobs.prediction import CommunicationRow
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts


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
    atoms: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name, block in job.model.blocks.items():
        for axis, elements in block_tensors(job, block, row, tables):
            atoms[name, axis].append(int(elements[0]))
    found: dict[str, Counter[Bucket]] = {axis: Counter() for axis in AXES}
    for blocks in chunk_blocks(job, row, group, stage):
        for axis in AXES:
            if limit is None:
                order = [sum(atoms[name, axis]) for name in blocks]
            else:
                order = [elements for name in blocks for elements in atoms[name, axis]]
            found[axis].update(packed(reversed(order), limit or 1.0, ranks[axis]))
    return found


def chunk_blocks(job: Job, row: Layouts, group: StageGroup, stage: StageClass) -> list[list[str]]:
    """Blocks of each virtual stage of a rank."""
    chunks = {0: group.vpp, 1: 2, 2: 1}[group.placement]
    shares = row.partitions[int(row.columns["partition"][0])]
    blocks = stage_blocks(job.model, group.pp * chunks, shares)
    return [blocks[index] for index in stage.virtual_stages]
