"""Local sizes of tensors on one rank, over arrays of degrees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.layouts.sharding import Placement
from planner.layouts.sharding.placement import TOKENS
from planner.layouts.sharding.rules import PARAMETER_AXES
from planner.models.graph import Axis, Block, ModelGraph, Tensor

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

PRECISION_BYTES: Mapping[str, float] = {"fp32": 4.0, "tf32": 4.0}
"""Bytes of one activation element; every other precision keeps 16-bit activations."""


def activation_bytes(precision: str) -> float:
    """Bytes per activation element of a job's precision."""
    return PRECISION_BYTES.get(precision, 2.0)


@dataclass(frozen=True)
class Sizes:
    """Degrees and job constants that fix the local size of every tensor of one block.

    Args:
        layouts: rows; only the block-level degrees and the micro-batch matter.
        job: for seq_len and routing options.
        block: for the scale of its streams.
    """

    layouts: Layouts
    job: Job
    block: Block

    @cached_property
    def degrees(self) -> Mapping[str, FloatArray]:
        names = ("tp", "ulysses", "ring", "ep", "etp")
        return {name: self.layouts.columns[name].astype(np.float64) for name in names}

    @cached_property
    def batch(self) -> FloatArray:
        return self.layouts.columns["micro_batch"].astype(np.float64)

    @cached_property
    def stream_tokens(self) -> FloatArray:
        """Tokens of one micro-batch on one rank where the stream is split over cp (and tp with sp)."""
        shared = self.degrees["ulysses"] * self.degrees["ring"]
        split = np.where(self.layouts.columns["sp"] > 0, self.degrees["tp"], 1.0)
        return self.batch * self.job.training.seq_len * self.block.sequence_scale / (shared * split)

    def axis(self, axis: Axis) -> FloatArray | float:
        """Global size of a named axis for each row."""
        seq_len = self.job.training.seq_len
        if axis.name == "batch":
            return self.batch
        if axis.name == "sequence":
            return seq_len * self.block.sequence_scale
        if axis.name == "sequence_kv":
            return seq_len * self.block.kv_sequence_scale
        if axis.name == "expert_tokens":
            return (
                self.stream_tokens
                * routed_copies(self.job.model, self.job)
                * self.degrees["ep"]
                * self.degrees["etp"]
            )
        return float(axis.size or 1)

    def local(self, axes: Iterable[Axis], placement: Placement) -> FloatArray:
        """Elements of one rank's part of an array with these axes."""
        total = np.ones(len(self.layouts))
        for axis in axes:
            token = axis.name in ("sequence", "sequence_kv")
            total = total * self.local_axis(axis, placement.sharded_by(TOKENS if token else axis.name))
        return total

    def local_axis(self, axis: Axis, mesh: Iterable[str]) -> FloatArray | float:
        """Local length of one axis cut over mesh axes; fixed axes round up (fewer KV heads than ranks, odd vocabularies)."""
        size = self.axis(axis)
        degree: FloatArray | float = 1.0
        for name in mesh:
            degree = degree * self.degrees[name]
        if axis.size is None:
            return size / degree
        return np.ceil(size / degree)

    def elements(self, tensor: Tensor, placement: Placement) -> FloatArray:
        """Elements of one rank's part of an activation."""
        return self.local(tensor.axes, placement)

    def element_bytes(self, tensor: Tensor) -> float:
        """Bytes of one element."""
        return {"fp32": 4.0, "mask": 1.0}.get(tensor.dtype, activation_bytes(self.job.training.precision))

    def bytes(self, tensor: Tensor, placement: Placement) -> FloatArray:
        """Bytes of one rank's part of an activation."""
        return self.elements(tensor, placement) * self.element_bytes(tensor)


def local_parameter(axes: Iterable[Axis], layouts: Layouts) -> FloatArray:
    """Elements of one rank's part of a parameter with these axes: each sharded axis is cut by its mesh axis, rounded up."""
    total = np.ones(len(layouts))
    for axis in axes:
        mesh = PARAMETER_AXES.get(axis.name)
        degree = 1.0 if mesh is None else layouts.columns[mesh].astype(np.float64)
        total = total * np.ceil((axis.size or 1) / degree)
    return total


def routed_copies(model: ModelGraph, job: Job) -> float:
    """Rows that experts compute per token of the hottest rank: top-k x capacity factor, or x imbalance without drops."""
    options = job.training.moe
    factor = options.router_imbalance if options.capacity_factor is None else options.capacity_factor
    return max(model.top_k, 1) * factor
