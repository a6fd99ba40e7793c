"""The format of published runs: one row per measured configuration. Docs: docs/validation.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from planner.validation.runs.values import (
    Count,
    Degree,
    Flag,
    Gate,
    Label,
    Number,
    Numbers,
    NumbersByName,
    NumberTable,
    Profile,
    Share,
    Switch,
    WordList,
    Words,
    as_mapping,
    as_section,
)


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
    padded_vocab: Switch = None
    seq_len: Degree = None
    gated_mlp: Gate = None
    tied_embeddings: Switch = None
    activation: Words = None
    mlp_activations: Words = None
    position: Words = None
    embedding_norm: Switch = None
    attention: Words = None
    sliding_window: Degree = None
    bias: Switch = None
    biases: Switch = None
    mtp_layers: Count = None
    optimizer: Words = None
    moe: Annotated[RowMoe | None, BeforeValidator(as_mapping)] = None
    mla: Annotated[Mapping[str, Any] | None, BeforeValidator(as_mapping)] = None


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
    network: Annotated[RowNetwork, BeforeValidator(as_section)] = RowNetwork()


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
    shard_runtime: Literal["fsdp1", "fsdp2"] | None = None
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
    step_time_s_printed: Numbers = ()
    tokens_per_s: Number = None
    tokens_per_s_per_device: Number = None
    samples_per_s: Number = None
    model_tflops_per_device: Number = None
    hardware_tflops_per_device: Number = None
    mfu: Share = None
    hfu: Share = None
    peak_memory_gib: Number = None
    peak_memory_gb: Number = None
    peak_reserved_gib: Number = None
    peak_allocated_mib_by_rank: Numbers = ()
    memory_mib_by_rank: NumberTable = ()
    allocated_after_step_gib: Number = None
    allocated_mib_by_stage: NumbersByName = Field(default_factory=dict)
    peak_memory_mib_by_stage: NumbersByName = Field(default_factory=dict)
    reserved_mib_by_stage_max: NumbersByName = Field(default_factory=dict)
    oom: Switch = None
    verdict: Words = None


class RunRow(_Section):
    """One published run.

    Args:
        complete: model, layout, batch, recompute and precision need no guess.
        quirk: why the row is doubtful: predicted, scored apart.
    """

    id: Annotated[Label, Field(min_length=1, max_length=300)]
    family: Annotated[Label, Field(min_length=1, max_length=100)]
    source: Words = None
    software: Words = None
    framework: Profile = "unknown"
    release: Words = None
    task: Words = None
    model: RowModel
    hardware: RowHardware
    layout: RowLayout
    measured: Annotated[RowMeasured, BeforeValidator(as_section)] = RowMeasured()
    memory_kind: Words = None
    flops_convention: Words = None
    complete: Flag = False
    missing: WordList = ()
    notes: Words = None
    quirk: Words = None
