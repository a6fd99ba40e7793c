"""The format of published runs: one row per measured configuration. Docs: docs/validation.md.

Sources print what they like, so a field that should hold a number may hold words. Words are kept as *unknown* (None);
numbers that cannot be (negative, not a number) are errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: object) -> float | None:
    """A positive number; words, lists and null are unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"found {value}; a finite number of at least 0 is accepted")
    return float(value)


def _count(value: object) -> int | None:
    number = _number(value)
    if number is None:
        return None
    if number != int(number):
        raise ValueError(f"found {value}; a whole number is accepted")
    return int(number)


def _degree(value: object) -> int | None:
    number = _count(value)
    if number == 0:
        raise ValueError("found 0; at least 1 is accepted")
    return number


def _switch(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: object) -> str | None:
    return None if value is None else str(value)


def _list(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    return () if value is None else (str(value),)


def _mapping(value: object) -> object:
    return value if isinstance(value, Mapping) else None


Number = Annotated[float | None, BeforeValidator(_number)]
Count = Annotated[int | None, BeforeValidator(_count)]
Degree = Annotated[int | None, BeforeValidator(_degree)]
Switch = Annotated[bool | None, BeforeValidator(_switch)]
Words = Annotated[str | None, BeforeValidator(_words)]
WordList = Annotated[tuple[str, ...], BeforeValidator(_list)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    def has(self, name: str) -> bool:
        """Whether the row has the field at all, even as null or words."""
        return name in self.model_fields_set


class RowMoe(_Section):
    """``model.moe``."""

    experts: Degree = None
    topk: Degree = None
    moe_ffn: Degree = None
    shared_experts: Count = None
    shared_ffn_total: Count = None
    dense_layers: Annotated[object, Field()] = None
    capacity_factor: Number = None
    dispatcher: Words = None


class RowModel(_Section):
    """``model``: dimensions; what is absent is unknown."""

    name: Words = None
    layers: Degree = None
    hidden: Degree = None
    ffn_hidden: Degree = None
    heads: Degree = None
    kv_heads: Degree = None
    head_dim: Degree = None
    vocab: Degree = None
    seq_len: Degree = None
    gated_mlp: Switch = None
    tied_embeddings: Switch = None
    activation: Words = None
    mlp_activations: Words = None
    position: Words = None
    attention: Words = None
    sliding_window: Degree = None
    bias: Switch = None
    biases: Switch = None
    mtp_layers: Count = None
    optimizer: Words = None
    moe: Annotated[RowMoe | None, BeforeValidator(_mapping)] = None
    mla: Annotated[Mapping[str, Any] | None, BeforeValidator(_mapping)] = None


class RowNetwork(_Section):
    """``hardware.network``: all NICs of a node together, one direction."""

    kind: Words = None
    gbps_per_node: Number = None
    stated: Switch = None


class RowHardware(_Section):
    """``hardware``."""

    accelerator: str
    accelerator_as_published: Words = None
    count: Degree = None
    per_node: Degree = None
    interconnect: Words = None
    network: RowNetwork = RowNetwork()


class RowLayout(_Section):
    """``layout``: degrees, batch, recompute, precision, and switches of the software."""

    tp: Degree = None
    sp: Switch = None
    pp: Degree = None
    vpp: Degree = None
    cp: Degree = None
    cp_kind: Words = None
    ulysses_degree: Degree = None
    ep: Degree = None
    etp: Degree = None
    etp_assumed: Words = None
    dp: Degree = None
    fsdp: Degree = None
    dp_replicas: Degree = None
    fsdp_shard_group: Degree = None
    zero_stage: Count = None
    zero_stage_as_published: Words = None
    micro_batch: Number = None
    global_batch: Degree = None
    global_batch_tokens: Number = None
    grad_accum: Degree = None
    recompute: Words = None
    recompute_modules: WordList = ()
    recompute_as_published: Words = None
    recompute_extra: WordList = ()
    recompute_source: str | None = None
    recompute_layers_per_stage: Degree = None
    precision: Words = None
    fp8_recipe: Words = None
    schedule: Words = None
    offload: WordList = ()
    overlap: WordList = ()
    attention: Words = None
    attention_fused: Switch = None
    async_tp: Switch = None
    cuda_graph: Words = None
    compile: Switch = None
    launch_blocking: Switch = None
    moe_dispatcher: Words = None
    kernels: Words = None
    optimizer: Words = None
    optimizer_memory: WordList = ()
    grad_dtype: Words = None
    grad_reduce_dtype: Words = None
    devices_per_chip: Degree = None
    note: Words = None


class RowMeasured(_Section):
    """``measured``; which memory counter it is stands in the row's ``memory_kind``."""

    step_time_s: Number = None
    step_time_s_printed: tuple[float, ...] = ()
    tokens_per_s: Number = None
    tokens_per_s_per_device: Number = None
    samples_per_s: Number = None
    model_tflops_per_device: Number = None
    hardware_tflops_per_device: Number = None
    mfu: Number = None
    hfu: Number = None
    peak_memory_gib: Number = None
    peak_memory_gb: Number = None
    peak_reserved_gib: Number = None
    peak_allocated_mib_by_rank: tuple[float, ...] = ()
    memory_mib_by_rank: tuple[tuple[float, ...], ...] = ()
    allocated_after_step_gib: Number = None
    allocated_mib_by_stage: Mapping[str, float] = Field(default_factory=dict)
    peak_memory_mib_by_stage: Mapping[str, float] = Field(default_factory=dict)
    reserved_mib_by_stage_max: Mapping[str, float] = Field(default_factory=dict)
    oom: Switch = None
    verdict: Words = None


class RunRow(_Section):
    """One published run.

    Args:
        complete: model, layout, batch, recompute and precision need no guess.
        quirk: why the row is doubtful: predicted, scored apart.
    """

    id: Annotated[str, Field(min_length=1, max_length=300)]
    family: Annotated[str, Field(min_length=1, max_length=100)]
    source: Words = None
    software: Words = None
    framework: str = "unknown"
    release: Words = None
    task: Words = None
    model: RowModel
    hardware: RowHardware
    layout: RowLayout
    measured: RowMeasured
    memory_kind: Words = None
    flops_convention: Words = None
    complete: bool = False
    missing: WordList = ()
    notes: Words = None
    quirk: Words = None
