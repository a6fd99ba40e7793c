"""Parameters that one rank's states are made of, with the rows that FSDP2 adds to share them out evenly.

fully_shard cuts each parameter along its first dimension into chunks of as many rows, rounded up: the first rank holds a whole
chunk, and collectives move whole chunks (torch/distributed/fsdp/_fully_shard: ``_get_dim0_padded_size``). Stacked experts fewer
than the ranks are cut along another dimension that divides (``shard_placement_fn``, as pytorch/torchtitan does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass
from planner.costs.states import parameter_shards, shard_groups, tied_elsewhere
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts, distinct_rows
from planner.models.graph import Axis, Block, Parameter


def stored_elements(
    job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass
) -> tuple[FloatArray, FloatArray]:
    """(dense, routed experts') elements of a stage before they are shared out: its own, a copy of every tied parameter whose
    owner sits elsewhere, and padding.

    Args:
        layouts, prices: the same rows.
    """
    dense, expert = (prices.total(kind, stage.recomputed, stage.plain) for kind in ("dense", "expert"))
    borrowed = tied_elsewhere(job.model, stage)
    for parameter in borrowed:
        dense = dense + local_parameter(parameter.axes, layouts)
    counts = {name: stage.recomputed.get(name, 0) + stage.plain.get(name, 0) for name in job.model.blocks}
    more, more_expert = padding(job, layouts, counts, borrowed)
    return dense + more, expert + more_expert


def padding(
    job: Job, layouts: Layouts, counts: Mapping[str, int], borrowed: Iterable[Parameter] = ()
) -> tuple[FloatArray, FloatArray]:
    """(dense, routed experts') elements that a rank's shard group adds to some blocks, shape (rows,); zero but for FSDP2.

    Args:
        counts: block name -> instances. borrowed: tables that they use besides.
    """
    nothing = np.zeros(len(layouts))
    if job.framework.shard_runtime != "fsdp2" or not len(layouts):
        return nothing, nothing
    groups = shard_groups(layouts)
    ranks = [parameter_shards(job, sizes).astype(np.int64) for sizes in (groups.dense, groups.expert)]
    if max(int(n.max()) for n in ranks) == 1:
        return nothing, nothing
    first, inverse = distinct_rows(
        [*(layouts.columns[name] for name in ("tp", "ep", "etp")), *ranks], len(layouts)
    )
    rows, (dense_ranks, expert_ranks) = layouts.take(first), (n[first].astype(np.float64) for n in ranks)
    dense = expert = np.zeros(len(first))
    for parameter, height, times in _parameters(job, counts, borrowed):
        if "experts" in parameter.axis_names:
            expert = expert + times * _added_to_experts(parameter, rows, expert_ranks)
        else:
            dense = dense + times * _added(parameter.axes, height, rows, dense_ranks)
    return dense[inverse], expert[inverse]


def _parameters(
    job: Job, counts: Mapping[str, int], borrowed: Iterable[Parameter]
) -> Iterator[tuple[Parameter, tuple[Axis, ...], int]]:
    """(parameter, axes of its first dimension, instances)."""
    for name, count in counts.items():
        block = job.model.blocks[name]
        for parameter in block.parameters.values():
            if count and parameter.tied_to is None:
                yield parameter, _height(block, parameter), count
    for parameter in borrowed:
        yield parameter, (_rows_of_table(parameter),), 1


def _height(block: Block, parameter: Parameter) -> tuple[Axis, ...]:
    """Axes that make up the first dimension: a matrix has its outputs there, gate and up are two of them."""
    for operator in block.operators:
        if parameter.name in operator.parameters:
            if operator.kind == "embedding":
                return (_rows_of_table(parameter),)
            taken = block.tensors[operator.inputs[0]].axis_names if operator.kind == "einsum" else ()
            if operator.kind == "einsum" and parameter.name == operator.parameters[0]:
                return tuple(a for a in parameter.axes if a.name not in (*taken, "gated"))
    return tuple(axis for axis in parameter.axes if axis.name != "gated")


def _rows_of_table(parameter: Parameter) -> Axis:
    """Of an embedding, which has one row for each token."""
    return next((axis for axis in parameter.axes if axis.name == "vocab"), parameter.axes[0])


def _added(axes: Iterable[Axis], height: Iterable[Axis], rows: Layouts, ranks: FloatArray) -> FloatArray:
    high = local_parameter(height, rows)
    return (np.ceil(high / ranks) * ranks / high - 1.0) * local_parameter(axes, rows)


def _added_to_experts(parameter: Parameter, rows: Layouts, ranks: FloatArray) -> FloatArray:
    """A rank's experts are stacked: cut between them when there are enough, else inside each where that comes out even."""
    experts = tuple(axis for axis in parameter.axes if axis.name == "experts")
    inside = [
        local_parameter((axis,), rows) for axis in parameter.axes if axis.name not in ("experts", "gated")
    ]
    even = (
        np.any([size % ranks == 0 for size in inside], axis=0)
        if len(inside) > 1
        else np.zeros(len(rows), bool)
    )
    fewer = local_parameter(experts, rows) < ranks
    return np.where(fewer & even, 0.0, _added(parameter.axes, experts, rows, ranks))
