"""A job as the planner uses it: model, cluster, training settings, framework profile and search options, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from planner.hardware.types import Cluster, Precision
    from planner.jobs.framework import Framework
    from planner.models.graph import ModelGraph

Attention = Literal["flash", "unfused", "cudnn"]
Optimizer = Literal["adamw", "adam8bit", "sgd", "adafactor", "muon", "galore", "lamb"]
CaptureScope = Literal["attn", "mlp", "moe_router", "moe_preprocess"]
CAPTURE_SCOPES: tuple[CaptureScope, ...] = get_args(CaptureScope)
Dispatcher = Literal["alltoall", "allgather", "deepep", "hybridep", "dense"]
Objective = Literal["step_time", "memory", "cost", "devices"]


@dataclass(frozen=True)
class LossOptions:
    """How the head's softmax cross entropy runs.

    Args:
        vocab_parallel: logits stay sharded over tp.
        fused: no fp32 copy of the logits is made.
        chunk: tokens per chunk of logits, None for all at once.
    """

    vocab_parallel: bool = True
    fused: bool = True
    chunk: int | None = None


@dataclass(frozen=True)
class MoeOptions:
    """Routing: hottest rank's load over the mean, capacity factor (None: dropless), dispatcher.

    ``dense`` routes by one-hot tensors of tokens x experts x capacity (GShard, arXiv 2006.16668).
    """

    router_imbalance: float = 1.0
    capacity_factor: float | None = None
    dispatcher: Dispatcher = "alltoall"


@dataclass(frozen=True)
class Training:
    """What is trained and how, independent of the layout.

    Args:
        global_batch: sequences per optimizer step.
        seq_len: tokens per sequence.
        precision: of matmuls; storage follows the framework's law.
        optimizer: kind; decides bytes of state and the cost of the step.
        optimizer_state_dtype_bytes: bytes per moment element, None for the optimizer's own.
        gradient_dtype_bytes: bytes per gradient element, None for the framework's.
        gradient_reduce_bytes: per gradient element on the wire when it differs (quantised reduction, ZeRO++ qgZ: 0.5).
        parameter_gather_bytes: per element of the forward parameter gather when it differs (ZeRO++ qwZ: 1).
        cp_balance: how a ring shares out a causal sequence: paired chunks (zigzag), or in order (contiguous).
        attention: kernel family.
        dropout: probability; above 0 masks are stored.
        capture: CUDA graphs of the whole iteration (True), or of parts of a layer by the names of Megatron-Core's
            cuda_graph_scope; compile: a compiler fuses pointwise operators.
        launch_blocking: every launch waits until its kernel is done (CUDA_LAUNCH_BLOCKING=1).
        fp8_recipe: tensorwise | rowwise | delayed | mxfp8, None for the precision's default.
        overlap: overrides of the profile: hidden share by kind of traffic (tp, dp_reduce, dp_gather, pp, ep, cp), 0..1;
            also ``bucket_bytes`` and ``prefetch``.
        tokens: token budget of the whole training, None when not given.
    """

    global_batch: int
    seq_len: int
    precision: Precision = "bf16"
    optimizer: Optimizer = "adamw"
    optimizer_state_dtype_bytes: float | None = None
    gradient_dtype_bytes: float | None = None
    gradient_reduce_bytes: float | None = None
    parameter_gather_bytes: float | None = None
    cp_balance: Literal["zigzag", "contiguous"] = "zigzag"
    attention: Attention = "flash"
    dropout: float = 0.0
    loss: LossOptions = LossOptions()
    capture: bool | tuple[CaptureScope, ...] = False
    compile: bool = False
    launch_blocking: bool = False
    fp8_recipe: str | None = None
    moe: MoeOptions = MoeOptions()
    overlap: Mapping[str, float] = field(default_factory=dict)
    tokens: float | None = None

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch * self.seq_len


@dataclass(frozen=True)
class SearchOptions:
    """What the search may choose and what it aims at.

    Args:
        objective: step_time | memory | cost | devices.
        target: for ``devices``: ``{"tokens_per_s": x}`` or ``{"deadline_s": s, "tokens": t}``.
        fix: knob -> the only value; limit: knob -> largest value; allow: knob -> list of values (``idle_devices``: bool).
        memory_reserve: fraction of device memory left free on top of what a process uses.
    """

    objective: Objective = "step_time"
    target: Mapping[str, float] = field(default_factory=dict)
    fix: Mapping[str, Any] = field(default_factory=dict)
    limit: Mapping[str, int] = field(default_factory=dict)
    allow: Mapping[str, Any] = field(default_factory=dict)
    memory_reserve: float = 0.06


@dataclass(frozen=True)
class Job:
    """Everything that a prediction needs besides the layout.

    Args:
        name: of the job file, for reports.
        model: graph of blocks.
        cluster: already restricted to the devices that the job uses.
        training, framework, search: see their types.
        source: the resolved job as plain data, for plan files and hashes.
    """

    name: str
    model: ModelGraph
    cluster: Cluster
    training: Training
    framework: Framework
    search: SearchOptions = SearchOptions()
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        return self.cluster.devices

    @property
    def selective_modules(self) -> tuple[str, ...]:
        """What selective recompute repeats when nothing else is asked: the profile's modules, as far as the model has them."""
        owned = {operator.module for block in self.model.blocks.values() for operator in block.operators}
        return tuple(module for module in self.framework.selective_modules if module in owned)
