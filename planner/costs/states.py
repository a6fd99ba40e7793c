"""Bytes of the persistent training states on one rank, by state class, shard group and tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass
from planner.jobs.framework import StateLaw
from planner.jobs.types import Job, Training
from planner.layouts.layout import StateClass, Tier
from planner.layouts.layouts import IntArray, Layouts
from planner.models.graph import ModelGraph, Parameter

MOMENT_ELEMENTS: Mapping[str, float] = {
    "adamw": 2.0,
    "lamb": 2.0,
    "adam8bit": 2.0,
    "sgd": 1.0,
    "adafactor": 0.01,
    "muon": 1.0,
    "galore": 0.75,
}
"""Moment elements per parameter. adafactor keeps a row and a column; galore's moments live in a subspace (arXiv 2403.03507,
rank 1024 of 4096: 0.375 of Adam's); muon keeps one momentum."""

MOMENT_BYTES: Mapping[str, float] = {"adam8bit": 1.0}


def moment_bytes(training: Training) -> float:
    """Bytes of optimizer moments per parameter."""
    element = training.optimizer_state_dtype_bytes or MOMENT_BYTES.get(training.optimizer, 4.0)
    return MOMENT_ELEMENTS[training.optimizer] * element


def gradient_bytes(job: Job) -> tuple[float, float]:
    """(stored, travelling) bytes per gradient element."""
    law = job.framework.state_law(job.training.precision)
    asked, wire = job.training.gradient_dtype_bytes, job.training.gradient_reduce_bytes
    stored, travelling = (law.gradients, law.reduced) if asked is None else (asked, asked)
    return stored, (travelling if wire is None else wire)


def optimizer_bytes(job: Job) -> float:
    """Bytes per parameter that belong to the optimizer: master copy, gradient copy, moments."""
    law = job.framework.state_law(job.training.precision)
    copy = law.gradient_copy if job.training.gradient_dtype_bytes is None else 0.0
    return law.master + copy + moment_bytes(job.training)


@dataclass(frozen=True)
class GroupSizes:
    """Ranks that hold one copy of a state class, shape (rows,).

    Args:
        replicas: ranks that hold the same parameters before sharding (dp x cp; edp for experts).
        parameters, gradients, optimizer: shard group of each class.
        secondary: group of the second parameter shard that backward gathers from (hpZ); 0 for none.
    """

    replicas: FloatArray
    parameters: FloatArray
    gradients: FloatArray
    optimizer: FloatArray
    secondary: FloatArray


@dataclass(frozen=True)
class Groups:
    """Shard groups of the dense parameters' states and of the routed experts'."""

    dense: GroupSizes
    expert: GroupSizes


def shard_groups(layouts: Layouts) -> Groups:
    """Group sizes of every row; those of experts are cut to edp."""
    c = layouts.columns
    replicas = (layouts.cp * c["dp"]).astype(np.float64)
    edp = layouts.edp.astype(np.float64)
    sizes = [c[f"shard_{state}"].astype(np.float64) for state in ("parameters", "gradients", "optimizer")]
    # a full dense shard is a full expert shard, a smaller one is cut to what edp has
    whole = [np.where(size > 1, edp, 1.0) for size in sizes]
    expert = [
        np.where(size >= replicas, full, np.minimum(size, edp))
        for size, full in zip(sizes, whole, strict=True)
    ]
    second = c["shard_secondary"].astype(np.float64)
    return Groups(
        GroupSizes(replicas, sizes[0], sizes[1], sizes[2], second),
        GroupSizes(edp, expert[0], expert[1], expert[2], np.zeros_like(second)),
    )


def parameter_shards(job: Job, sizes: GroupSizes) -> FloatArray:
    """Ranks that share parameters from step to step.

    Under FSDP at least those that share gradients: SHARD_GRAD_OP and ``reshard_after_forward=False`` keep gathered parameters
    from a micro-batch's forward to its backward only (torch/distributed/fsdp).
    """
    if job.framework.shard_runtime == "zero":
        return sizes.parameters
    return np.maximum(sizes.parameters, sizes.gradients)


@dataclass(frozen=True)
class StateBytes:
    """Bytes of one rank's states before offload, and the elements behind them, shape (rows,)."""

    parameters: FloatArray
    gradients: FloatArray
    optimizer: FloatArray
    dense_elements: FloatArray
    expert_elements: FloatArray


def tied_elsewhere(model: ModelGraph, stage: StageClass) -> tuple[Parameter, ...]:
    """Tied parameters that a stage uses while their storage is on another stage; each once."""
    owned = [model.blocks[name] for name in {*stage.recomputed, *stage.plain}]
    stored = {p.name for block in owned for p in block.parameters.values() if p.tied_to is None}
    found: dict[str, Parameter] = {}
    for block in owned:
        for parameter in block.parameters.values():
            if parameter.tied_to is not None and parameter.tied_to not in stored:
                found.setdefault(parameter.tied_to, parameter)
    return tuple(found.values())


def shared_with_others(model: ModelGraph, stage: StageClass) -> tuple[Parameter, ...]:
    """Parameters stored on a stage that blocks of other stages are tied to."""
    owned = {*stage.recomputed, *stage.plain}
    borrowed = {
        p.tied_to
        for name, block in model.blocks.items()
        if name not in owned
        for p in block.parameters.values()
        if p.tied_to
    }
    stored = (
        p for name in sorted(owned) for p in model.blocks[name].parameters.values() if p.tied_to is None
    )
    return tuple(p for p in stored if p.name in borrowed)


def state_bytes(job: Job, groups: Groups, dense: FloatArray, expert: FloatArray) -> StateBytes:
    """Persistent bytes of one rank: weights, gradients and optimizer state, each over its shard group.

    ZeRO (arXiv 1910.02054) with K = optimizer bytes per parameter; bytes per element are the framework's law.
    """
    law: StateLaw = job.framework.state_law(job.training.precision)
    stored, _ = gradient_bytes(job)
    own, experts = groups.dense, groups.expert
    second = np.where(own.secondary > 0, law.gathered * dense / np.maximum(own.secondary, 1.0), 0.0)
    return StateBytes(
        parameters=law.parameters
        * (dense / parameter_shards(job, own) + expert / parameter_shards(job, experts))
        + second,
        gradients=stored * (dense / own.gradients + expert / experts.gradients),
        optimizer=optimizer_bytes(job) * (dense / own.optimizer + expert / experts.optimizer),
        dense_elements=dense,
        expert_elements=expert,
    )


def updated_elements(states: StateBytes, groups: Groups) -> FloatArray:
    """Parameters that one rank's optimizer updates."""
    return states.dense_elements / groups.dense.optimizer + states.expert_elements / groups.expert.optimizer


def spread_states(states: StateBytes, index: IntArray) -> StateBytes:
    """The states of chosen (or repeated) rows."""
    return StateBytes(*(getattr(states, item.name)[index] for item in fields(StateBytes)))


def moves_states(layouts: Layouts) -> bool:
    """Whether any row keeps parameters, gradients or optimizer state outside HBM."""
    names: tuple[StateClass, ...] = ("parameters", "gradients", "optimizer")
    return any(policy.fraction(name, "hbm") < 1.0 for policy in layouts.offload for name in names)


def tier_fraction(layouts: Layouts, state: StateClass, tier: Tier) -> FloatArray:
    """Share of a state class that lives in a tier, for every row."""
    table = np.array([policy.fraction(state, tier) for policy in layouts.offload])
    index: IntArray = layouts.columns["offload"]
    return np.asarray(table[index], dtype=np.float64)
