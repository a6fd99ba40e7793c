"""What a job may not ask for, whatever the layout: checked once model, cluster and framework are known."""

from __future__ import annotations

from collections.abc import Iterator

from planner.hardware.types import Cluster
from planner.jobs.framework import Framework
from planner.jobs.types import SearchOptions, Training
from planner.models.graph import ModelGraph

Fault = tuple[tuple[str, ...], str]
"""Path of the field in the job file, and what is wrong with it."""

FP8_PRECISIONS = ("fp8", "mxfp8")


def faults(
    model: ModelGraph, cluster: Cluster, framework: Framework, training: Training, search: SearchOptions
) -> Iterator[Fault]:
    """Every fault of the job, in the order of the file."""
    yield from _sequence(model, training)
    yield from _precision(cluster, framework, training)
    yield from _kernels(model, cluster, training)
    yield from _search(cluster, search)


def learned_positions(model: ModelGraph) -> int | None:
    """Rows of the shortest learned position table, in tokens of the job's sequence; None without one."""
    lengths = [
        int(axis.size / block.sequence_scale)
        for block in model.blocks.values()
        if block.kind == "embedding"
        for parameter in block.parameters.values()
        for axis in parameter.axes
        if axis.name == "positions" and axis.size is not None
    ]
    return min(lengths, default=None)


def _sequence(model: ModelGraph, training: Training) -> Iterator[Fault]:
    positions = learned_positions(model)
    if positions is not None and training.seq_len > positions:
        yield (
            ("training", "seq_len"),
            f"found {training.seq_len} tokens, but {model.name} has {positions} learned positions;"
            f" accepted: at most {positions}",
        )


def _precision(cluster: Cluster, framework: Framework, training: Training) -> Iterator[Fault]:
    accelerator = cluster.accelerator
    if training.precision not in accelerator.peak_flops:
        known = ", ".join(sorted(accelerator.peak_flops))
        yield (
            ("training", "precision"),
            f"found '{training.precision}', which {accelerator.name} lacks; it has: {known}",
        )
    try:
        framework.state_law(training.precision)
    except KeyError:
        yield (
            ("training", "precision"),
            f"found '{training.precision}', for which the profile {framework.name} states no dtypes;"
            f" it has: {', '.join(sorted(framework.states))}",
        )
    if training.fp8_recipe is not None and training.precision not in FP8_PRECISIONS:
        yield (
            ("training", "fp8_recipe"),
            f"found '{training.fp8_recipe}' with precision '{training.precision}';"
            f" accepted: a recipe only with {' or '.join(FP8_PRECISIONS)}",
        )


def _kernels(model: ModelGraph, cluster: Cluster, training: Training) -> Iterator[Fault]:
    if training.attention == "cudnn" and cluster.accelerator.vendor.lower() != "nvidia":
        yield (
            ("training", "attention"),
            f"found 'cudnn', but {cluster.accelerator.name} is no NVIDIA device; accepted: flash, unfused",
        )
    moe = training.moe
    if model.experts == 0 and (moe.router_imbalance != 1.0 or moe.capacity_factor is not None):
        yield (
            ("training", "moe"),
            f"found routing options, but {model.name} has no experts; remove the section",
        )
    if training.loss.chunk is not None and training.loss.chunk > training.tokens_per_step:
        yield (
            ("training", "loss", "chunk"),
            f"found {training.loss.chunk} tokens, but a step has {training.tokens_per_step}",
        )


def _search(cluster: Cluster, search: SearchOptions) -> Iterator[Fault]:
    if search.objective == "cost" and cluster.price_per_device_hour is None:
        yield (
            ("search", "objective"),
            f"found 'cost', but {cluster.name} has no price_per_device_hour; add it to the cluster",
        )
    rate, deadline = "tokens_per_s" in search.target, "deadline_s" in search.target
    if search.objective == "devices" and rate == deadline:
        yield (
            ("search", "target"),
            "the objective 'devices' needs one target: {tokens_per_s: x} or {deadline: 30d, tokens: 15T}",
        )
    if search.objective != "devices" and search.target:
        yield (
            ("search", "target"),
            f"a target belongs to the objective 'devices', found objective '{search.objective}'",
        )
    if deadline and "tokens" not in search.target:
        yield ("search", "target"), "a deadline needs tokens, for example {deadline: 30d, tokens: 15T}"
    for knob, value in search.fix.items():
        limit, listed = search.limit.get(knob), search.allow.get(knob)
        if limit is not None and isinstance(value, int) and value > limit:
            yield ("search", "fix", knob), f"found {value}, but search.limit allows at most {limit}"
        if isinstance(listed, list) and value not in listed:
            yield ("search", "fix", knob), f"found {value}, but search.allow lists {listed}"
