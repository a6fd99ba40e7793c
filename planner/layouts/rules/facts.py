"""What legality depends on besides the layout, read once from a job."""

from __future__ import annotations

from dataclasses import dataclass

from planner.jobs.types import Job
from planner.models.graph import ModelGraph


@dataclass(frozen=True)
class Facts:
    """Sizes that degrees must divide, and what the framework can launch.

    Args:
        devices: of the job; idle_devices: fewer may be used.
        global_batch: sequences per step.
        sequences: tokens of each distinct stream of the model.
        causal: some attention is causal, so context parallelism balances it by pairing chunks (zigzag).
        layers: that pipeline stages share out; streams: residual streams (2 for an encoder-decoder).
        head_sizes: distinct head counts; kv_sizes: counts of grouped heads, which tp may replicate.
        inner_sizes: widths that tp splits besides heads, by what they are.
        experts: routed experts (0 for a dense model); expert_ffn: their distinct inner widths.
        modules: recompute units that the model has.
        features, schedules, zero_stages, pipeline_zero_stages (those that go with pp > 1): of the framework profile, named
            ``framework``.
        tiers: memory tiers below HBM that the cluster has.
    """

    framework: str
    devices: int
    idle_devices: bool
    global_batch: int
    sequences: tuple[int, ...]
    causal: bool
    layers: int
    streams: int
    head_sizes: tuple[int, ...]
    kv_sizes: tuple[int, ...]
    inner_sizes: tuple[tuple[str, int], ...]
    experts: int
    expert_ffn: tuple[int, ...]
    modules: frozenset[str]
    features: frozenset[str]
    schedules: tuple[str, ...]
    zero_stages: tuple[int, ...]
    pipeline_zero_stages: tuple[int, ...]
    tiers: frozenset[str]


def gather_facts(job: Job) -> Facts:
    """The facts of a job."""
    host = job.cluster.host
    tiers = {"host"} if host.memory_bytes else set()
    if host.nvme_bytes:
        tiers.add("nvme")
    model = job.model
    return Facts(
        framework=job.framework.name,
        devices=job.devices,
        idle_devices=bool(job.search.allow.get("idle_devices", False)),
        global_batch=job.training.global_batch,
        sequences=_sequences(model, job.training.seq_len),
        causal=any(
            operator.attributes.get("causal")
            for block in model.blocks.values()
            for operator in block.operators
            if operator.kind == "attention"
        ),
        layers=model.layers,
        streams=1 + sum(block.kind == "bridge" for block in model.blocks.values()),
        head_sizes=_axis_sizes(model, "heads"),
        kv_sizes=_grouped_sizes(model),
        inner_sizes=tuple(
            (name, size) for name in ("ffn", "shared_ffn") for size in _axis_sizes(model, name)
        ),
        experts=model.experts,
        expert_ffn=_axis_sizes(model, "expert_ffn"),
        modules=model.modules,
        features=frozenset(job.framework.features),
        schedules=job.framework.schedules,
        zero_stages=job.framework.zero_stages,
        pipeline_zero_stages=job.framework.pipeline_zero_stages or job.framework.zero_stages,
        tiers=frozenset(tiers),
    )


def _axis_sizes(model: ModelGraph, name: str) -> tuple[int, ...]:
    """Distinct sizes of a named axis over the trained arrays of the layers."""
    sizes = {
        axis.size
        for block in model.blocks.values()
        if block.kind == "layer"
        for parameter in block.parameters.values()
        for axis in parameter.axes
        if axis.name == name and axis.size is not None
    }
    return tuple(sorted(sizes))


def _grouped_sizes(model: ModelGraph) -> tuple[int, ...]:
    """Distinct counts of key/value heads and state-space groups, where they are fewer than the heads."""
    sizes = {*_axis_sizes(model, "kv_heads"), *_axis_sizes(model, "groups")}
    return tuple(sorted(sizes - set(_axis_sizes(model, "heads"))))


def _sequences(model: ModelGraph, seq_len: int) -> tuple[int, ...]:
    scales = {block.sequence_scale for block in model.blocks.values()}
    return tuple(sorted({max(1, round(seq_len * scale)) for scale in scales}))
