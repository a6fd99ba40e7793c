"""Time of the optimizer's update on one rank."""

from __future__ import annotations

import math

import numpy as np

from planner.costs.kernels import optimizer_seconds, peak_flops
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass
from planner.costs.states import Groups, StateBytes, updated_elements
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.models.graph import Block

UPDATE_BYTES = 14.0
"""Bytes that an update moves per parameter besides its state read and written: gradient read, weight written, ..."""

NEWTON_SCHULZ_STEPS = 5


def update_seconds(
    job: Job, layouts: Layouts, stage: StageClass, groups: Groups, states: StateBytes
) -> FloatArray:
    """Seconds of the update of what one rank owns: its state streamed once, and Muon's orthogonalisation.

    Args:
        layouts: rows; stage, groups, states: of the rank.
    """
    moved = updated_elements(states, groups) * UPDATE_BYTES + 2.0 * states.optimizer
    apart = 1.0 if job.training.compile or "optimizer" in job.framework.fusions else 2.0
    seconds = optimizer_seconds(apart * moved, job.cluster.accelerator)
    if job.training.optimizer != "muon":
        return seconds
    accelerator = job.cluster.accelerator
    precision = "bf16" if "bf16" in accelerator.peak_flops else job.training.precision
    rate = peak_flops(accelerator, precision) * accelerator.kernels.matmul_efficiency.get(precision, 0.78)
    return seconds + newton_schulz_flops(job, layouts, stage, groups) / rate


def newton_schulz_flops(job: Job, layouts: Layouts, stage: StageClass, groups: Groups) -> FloatArray:
    """FLOPs of Muon's five Newton-Schulz steps on one rank: 4 m^2 n + 2 m^3 per step of an m x n matrix, m <= n.

    Whole matrices are shared out among the ranks of the optimizer's group and of tp (experts: edp, etp and ep); embedding
    and head keep AdamW (Muon, Moonlight report, arXiv 2502.16982).
    """
    c = layouts.columns
    total = np.zeros(len(layouts))
    for counts in (stage.recomputed, stage.plain):
        for name, count in counts.items():
            block = job.model.blocks[name]
            if block.kind != "layer":
                continue
            dense, expert = _block_flops(block)
            total = total + count * dense / (groups.dense.optimizer * c["tp"])
            total = total + count * expert / (groups.expert.optimizer * c["etp"] * c["ep"])
    return total


def _block_flops(block: Block) -> tuple[float, float]:
    """(dense, routed experts) of one layer, all matrices whole."""
    dense = expert = 0.0
    for operator in block.operators:
        if operator.kind != "einsum":
            continue
        source = block.tensors[operator.inputs[0]].axis_names
        weight = block.parameters[operator.parameters[0]]
        sizes = {axis.name: float(axis.size or 1) for axis in weight.axes}
        copies = sizes.pop("experts", 1.0)
        rows = math.prod(size for axis, size in sizes.items() if axis in source)
        columns = math.prod(size for axis, size in sizes.items() if axis not in source)
        m, n = min(rows, columns), max(rows, columns)
        flops = NEWTON_SCHULZ_STEPS * (4.0 * m * m * n + 2.0 * m**3) * copies
        if "experts" in weight.axis_names:
            expert += flops
        else:
            dense += flops
    return dense, expert
