"""Effects that can be taken out of the cost model, each by a change of the job or by a part of the step that is not counted.

Nothing in the cost model knows of this: an effect is switched off by constants at which it vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from planner.costs.evaluate import step_times
from planner.costs.prices import price_model
from planner.costs.sizes import FloatArray
from planner.hardware.types import KernelConstants, NetworkLevel
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.models.graph import Axis, Block
from planner.validation.runs.uncertainty import step_and_parts

ENDLESS = 1e9
"""Factor on a rate at which its time vanishes."""

SMALL_VOCABULARY = 1024
"""Vocabulary of a head that costs nothing."""

ONE_CARD = "pcie-"
"""Kinds that begin so have one link for all members of a node (``CollectiveConstants.one_root``)."""


@dataclass(frozen=True)
class Effect:
    """One effect.

    Args:
        removed: what is priced instead, in words.
        change: the job without it; ``part``: the part of the step (``planner.costs.uncertainty.PARTS``) that is not counted.
        constants: patterns of the fitted constants that mean nothing without it.
    """

    name: str
    removed: str
    change: Callable[[Job], Job] | None = None
    part: str | None = None
    constants: tuple[str, ...] = ()

    def seconds(self, job: Job, layouts: Layouts) -> FloatArray:
        """Step times without the effect, shape (rows,)."""
        changed = job if self.change is None else self.change(job)
        if self.part is None:
            return step_times(changed, layouts)
        total, parts = step_and_parts(changed, layouts, price_model(changed, layouts).rows(layouts))
        return np.asarray(np.maximum(total - parts[self.part], 1e-9))


def _with_kernels(job: Job, change: Callable[[KernelConstants], KernelConstants]) -> Job:
    accelerator = job.cluster.accelerator
    changed = replace(accelerator, kernels=change(accelerator.kernels))
    return replace(job, cluster=replace(job.cluster, accelerator=changed))


def _with_levels(job: Job, change: Callable[[NetworkLevel], NetworkLevel]) -> Job:
    levels = tuple(change(level) for level in job.cluster.network)
    return replace(job, cluster=replace(job.cluster, network=levels))


def _times(table: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: value * factor for name, value in table.items()}


def _without_attention(job: Job) -> Job:
    """Fused kernels of endless rate, so that unfused scores move no bytes either."""
    fused = replace(job, training=replace(job.training, attention="flash"))
    return _with_kernels(
        fused,
        lambda kernels: replace(
            kernels,
            attention_forward=_times(kernels.attention_forward, ENDLESS),
            attention_backward=_times(kernels.attention_backward, ENDLESS),
        ),
    )


def _without_host(job: Job) -> Job:
    host = job.framework.host
    nothing = {name: 0.0 for name in type(host).model_fields if name.endswith("_s")}
    framework = job.framework.model_copy(update={"host": host.model_copy(update=nothing)})
    return replace(job, framework=framework)


def _without_network(job: Job) -> Job:
    def endless(level: NetworkLevel) -> NetworkLevel:
        flow = level.per_flow_bandwidth
        return replace(
            level,
            bandwidth=level.bandwidth * ENDLESS,
            per_flow_bandwidth=None if flow is None else flow * ENDLESS,
            latency_s=level.latency_s / ENDLESS,
            start_s=0.0,
            message_start_s=0.0,
        )

    return _with_levels(job, endless)


def _one_card(job: Job) -> Job:
    inner = job.cluster.devices_per_node
    return _with_levels(
        job, lambda level: replace(level, kind=f"{ONE_CARD}{level.kind}") if level.size > inner else level
    )


def _without_hops(job: Job) -> Job:
    return replace(job, training=replace(job.training, overlap={**job.training.overlap, "pp": True}))


def _without_head(job: Job) -> Job:
    blocks = {name: _narrow(block) for name, block in job.model.blocks.items()}
    return replace(job, model=replace(job.model, blocks=blocks))


def _narrow(block: Block) -> Block:
    """The block with a vocabulary of no account."""

    def axes(stated: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(Axis("vocab", SMALL_VOCABULARY) if axis.name == "vocab" else axis for axis in stated)

    return replace(
        block,
        tensors={name: replace(t, axes=axes(t.axes)) for name, t in block.tensors.items()},
        parameters={name: replace(p, axes=axes(p.axes)) for name, p in block.parameters.items()},
    )


def _without_elementwise(job: Job) -> Job:
    framework = job.framework.model_copy(update={"elementwise_factor": 1.0 / ENDLESS})
    return replace(job, framework=framework)


def _without_waves(job: Job) -> Job:
    return _with_kernels(job, lambda kernels: replace(kernels, matmul_wave=0.0))


def _without_sizes(job: Job) -> Job:
    return _with_kernels(
        job,
        lambda kernels: replace(
            kernels, matmul_k_half=0.0, matmul_mn_half=0.0, matmul_tile_k=0.0, matmul_tile_edge=0.0
        ),
    )


def _without_casts(job: Job) -> Job:
    return _with_kernels(job, lambda kernels: replace(kernels, cast_factor=1.0 / ENDLESS))


EFFECTS: tuple[Effect, ...] = (
    Effect("attention", "its kernels take no time", _without_attention, constants=("attention_*",)),
    Effect("bubble", "no rank waits for others", part="bubble"),
    Effect("host floor", "launches take no time", _without_host, constants=("host_factor", "expert_factor")),
    Effect(
        "collectives",
        "bytes move at once",
        _without_network,
        constants=("in_step_efficiency", "hidden.*"),
    ),
    Effect("head", f"a vocabulary of {SMALL_VOCABULARY}", _without_head),
    Effect("NIC aggregation", "one network card serves each group of a node", _one_card),
    Effect("wave quantisation", "matmuls of any number of tiles fill the device", _without_waves),
    Effect("matmul sizes", "small matmuls run like large ones", _without_sizes, constants=("matmul_*_half",)),
    Effect(
        "elementwise",
        "memory-bound operators take no time",
        _without_elementwise,
        constants=("elementwise_factor",),
    ),
    Effect("casts", "8-bit operands cost no traffic", _without_casts, constants=("cast_factor",)),
    Effect("hops", "stages hand on at once", _without_hops, constants=("hidden.pp",)),
    Effect("optimizer", "the update takes no time", part="optimizer"),
)
