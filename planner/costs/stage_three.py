"""What DeepSpeed's ZeRO stage 3 gathers twice, keeps whole, and does besides its collectives.

Sources: deepspeed/runtime/zero of deepspeedai/DeepSpeed, partition_parameters.py and stage3.py of v0.3.12 to v0.4,
partitioned_param_coordinator.py, stage3.py and ../comm/coalesced_collectives.py since v0.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.kernels import memory_bound_seconds
from planner.costs.sizes import FloatArray
from planner.costs.states import gradient_bytes
from planner.costs.tensors import Axis
from planner.jobs.stage_three import StageThree
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts


@dataclass(frozen=True)
class Pieces:
    """One instance of a block by its collectives, shape (rows,).

    Args:
        count: collectives that gather it.
        again, again_count: elements and collectives that are gathered for its recomputation and again for its backward.
        anew, anew_count: those that are gathered for its recomputation from all ranks though there are secondary shards.
        small, small_count: elements and number of tensors that stay whole until they are updated.
    """

    count: FloatArray
    again: FloatArray
    again_count: FloatArray
    anew: FloatArray
    anew_count: FloatArray
    small: FloatArray
    small_count: FloatArray


def recomputes_layers(layouts: Layouts) -> FloatArray:
    """1 for rows that run the whole forward of a layer again, else 0."""
    full = np.array([policy.mode == "full" for policy in layouts.recompute], dtype=np.float64)
    return np.asarray(full[layouts.columns["recompute"]])


def pieces(
    rules: StageThree, layouts: Layouts, tensors: Sequence[tuple[Axis, FloatArray]], axis: Axis
) -> Pieces:
    """How stage 3 cuts a block into collectives.

    A tensor is let go after recompute where the tensors between it and its own backward, all that follow it twice, have
    ``reuse_elements`` or more.

    Args:
        tensors: of a block, in the order of its modules. axis: whose tensors to count.
    """
    between, zero, full = np.zeros(len(layouts)), np.zeros(len(layouts)), recomputes_layers(layouts)
    count = gathered = again = again_count = small = small_count = zero
    for owner, elements in reversed(tensors):
        if owner == axis:
            whole = elements < rules.by_tensor.persistent_elements if rules.by_tensor else zero > 0.0
            let_go = np.where(~whole & (between >= rules.reuse_elements), full, 0.0)
            count, again_count = count + ~whole, again_count + let_go
            gathered, again = gathered + ~whole * elements, again + let_go * elements
            small, small_count = small + whole * elements, small_count + whole
        between = between + 2.0 * elements
    if rules.by_tensor is None:
        count, again_count = zero + 1.0, np.minimum(again_count, 1.0)
    anew = zero if rules.secondary_again else full
    return Pieces(count, again, again_count, anew * gathered, anew * count, small, small_count)


def loop_seconds(job: Job, lists: FloatArray | float, ranks: FloatArray) -> FloatArray:
    """Host time over lists of one part per rank, (rows,): nothing is launched meanwhile.

    Args:
        lists: collectives over a list. ranks: parts of each.
    """
    rules = job.framework.stage_three
    each = rules.by_tensor.rank_s if rules is not None and rules.by_tensor else 0.0
    return np.asarray(each * lists * ranks)


def gathered_seconds(job: Job, nbytes: FloatArray) -> FloatArray:
    """Memory traffic that the device stands still for before it uses gathered parameters, (rows,)."""
    rules = job.framework.stage_three
    if rules is None or rules.by_tensor is None:
        return np.zeros_like(nbytes)
    return memory_bound_seconds(rules.by_tensor.gather_passes * nbytes, job.cluster.accelerator)


def scattered_seconds(job: Job, nbytes: FloatArray) -> FloatArray:
    """Memory traffic that brings gradients into the buffer that is scattered, on that collective's stream, (rows,).

    Args:
        nbytes: in the type in which they travel; the passes are over the type in which they are kept.
    """
    rules = job.framework.stage_three
    if rules is None:
        return np.zeros_like(nbytes)
    kept, travelling = gradient_bytes(job)
    return memory_bound_seconds(rules.scatter_passes * kept / travelling * nbytes, job.cluster.accelerator)
