"""Framework profiles: what a training framework fuses, stores, overlaps, buffers, and which layouts it can launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.errors import PlannerError, suggest
from planner.hardware.calibration import applied_calibration
from planner.hardware.types import Accelerator, Generation
from planner.jobs.stage_three import StageThree

if TYPE_CHECKING:
    from planner.documents.reading import Document

FRAMEWORKS = (
    "megatron-lm",
    "megatron-core",
    "megatron-deepspeed",
    "deepspeed",
    "deepspeed-2021",
    "deepspeed-2023",
    "fsdp",
    "torchtitan",
    "composer-fsdp",
    "maxtext",
    "mindspeed",
    "internevo",
    "ideal",
)

Feature = Literal[
    "tp",
    "sp",
    "ulysses",
    "ring",
    "cp_allgather",
    "pp",
    "vpp",
    "ep",
    "etp",
    "folding",
    "shard_subgroup",
    "offload",
]

ShardRuntime = Literal["zero", "fsdp1", "fsdp2"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StateLaw(_Frozen):
    """Bytes per trained parameter by state class, moments apart (they belong to the optimizer)."""

    parameters: float = Field(description="persistent storage of the weights")
    gradients: float = Field(description="persistent gradient")
    master: float = Field(description="separate fp32 copy of the weights kept with the optimizer")
    gradient_copy: float = Field(0.0, description="fp32 gradient of the optimizer's shard")
    update: float = Field(
        0.0, description="copies alive while the shard is updated (foreach, flat gradients)"
    )
    gathered: float = Field(2.0, description="dtype of gathered parameters when they are sharded")
    reduced: float = Field(description="dtype in which gradients travel")
    accumulation: float = Field(
        0.0,
        description="HBM traffic in which kernels of their own add a micro-batch's gradient to the one kept; "
        "0 where the matmul adds to it, or each micro-batch's is reduced",
    )
    sums_whole: bool = Field(
        False, description="each replica sums whole gradients though it updates a part of them (ZeRO-1)"
    )


class Hidden(_Frozen):
    """Share of each kind of traffic that overlaps with computation (0 exposed .. 1 hidden as far as there is work)."""

    tp: float = 0.2
    dp_reduce: float = 0.7
    dp_gather: float = 0.7
    pp: float = 0.5
    ep: float = 0.0
    cp: float = 0.8
    offload: float = 0.9


class HostCosts(_Frozen):
    """Host-side work per launched operator and per micro-batch; a pass cannot be faster than it."""

    forward_operator_s: float = 25e-6
    backward_operator_s: float = 30e-6
    expert_s: float = Field(10e-6, description="per launch for one local expert")
    step_s: float = 3e-3
    collective_s: float = Field(
        0.0,
        description="host time by which the slowest rank of a tp collective is behind, per doubling of the ranks",
    )
    compiled_share: float = Field(0.5, description="of it left when a compiler fuses operators")


class Buffers(_Frozen):
    """Memory that the framework and its runtime hold."""

    bucket_bytes: float = 200e6
    gradient_scratch: Literal["none", "distinct_shapes", "unsharded_unit", "buckets"] = "none"
    gradients_freed: bool = Field(
        False, description="gradients are dropped by the update and made anew by the first backward pass"
    )
    context_bytes: float = Field(1.5e9, description="driver context and communicators")
    reserved_share: float = Field(0.06, description="allocator rounding and fragmentation, of allocated peak")
    update_apart: bool = Field(
        False,
        description="the update's copies are single tensors as long as the rank's shard: the allocator finds no room for them in "
        "what the passes freed and keeps both, until memory runs out",
    )
    loss_logit_bytes: float = Field(2.0, description="per logit at the loss, fused")
    loss_logit_bytes_unfused: float = 10.0
    loss_logit_bytes_compiled: float | None = Field(
        None, description="where a compiler changes the fused loss"
    )
    loss_logit_bytes_cut: float | None = Field(
        None, description="where tensor parallelism cuts the vocabulary and the loss is written out"
    )
    norm_copies: bool = Field(
        False,
        description="an RMSNorm that no compiler fuses keeps fp32 copies of its input and of its result",
    )
    keeps_low_precision: bool = Field(
        False, description="matmuls that run in 8 bits or fewer keep their cast inputs, not the 16-bit ones"
    )


class Framework(_Frozen):
    """One profile."""

    name: str
    states: dict[str, StateLaw] = Field(
        description="by precision family: fp32, fp16, bf16 (fp8 kinds use bf16)"
    )
    fusions: frozenset[
        Literal[
            "norm",
            "activation",
            "rope",
            "dropout_add",
            "softmax",
            "causal_softmax",
            "cross_entropy",
            "qkv",
            "expert_bias",
            "ring_merge",
            "optimizer",
        ]
    ]
    hidden: Hidden = Hidden()
    host: HostCosts = HostCosts()
    buffers: Buffers = Buffers()
    cast_gathers: Literal["none", "tensorwise", "all"] = Field(
        "none",
        description="recipes of matmuls in 8 bits or fewer under which tensor parallelism gathers their tensors as cast",
    )
    regather_inputs: bool = Field(
        True, description="sequence-parallel inputs are stored sharded and gathered again in backward"
    )
    shared_input_hook: bool = Field(True, description="one backward reduction for all consumers of an input")
    recompute_stops_early: bool = Field(False, description="full recompute skips the layer's last matmul")
    recompute_drops_unread: bool = Field(
        False, description="a compiler removes from what runs again all that backward does not read"
    )
    selective_modules: tuple[str, ...] = ("core_attention",)
    selective_outputs: float | None = Field(
        None,
        description="selective recompute is a policy over the whole layer that keeps this share of its matmuls' outputs "
        "and those of attention; None: the modules are checkpointed one by one and keep their inputs",
    )
    embedding_as_layer: bool = False
    shard_runtime: ShardRuntime = Field(
        "zero",
        description="who moves sharded states: FSDP1 or FSDP2 of PyTorch, or a ZeRO-like distributed optimizer",
    )
    stage_three: StageThree | None = Field(None, description="what DeepSpeed's stage 3 does besides")
    scatters_hops: bool = Field(
        False,
        description="without sequence parallelism each tp rank sends its part of the stream to the next stage",
    )
    blocking_hops: bool = Field(
        False,
        description="ranks of interleaved schedules stand still until each message to another stage is delivered",
    )
    pads_values: bool = Field(
        False,
        description="attention kernels take heads of one width: narrower values (MLA) are padded to that of the queries",
    )
    pads_vocabulary: int = Field(
        1,
        description="the vocabulary is padded to a multiple of so many rows per tensor-parallel rank; 0: what the ranks "
        "cannot share evenly is dropped",
    )
    loss_kernels: Literal["pytorch", "megatron"] = Field(
        "pytorch", description="whose cross entropy runs where it is not fused into one kernel"
    )
    flash_kernel: dict[str, Generation] = Field(
        {"default": "flash2", "cpu": "flash_cpu"},
        description="generation of its fused attention by architecture of the accelerator, and elsewhere (default)",
    )
    elementwise_factor: float = Field(
        1.0, description="HBM traffic of memory-bound operators over that of the listed fusions"
    )
    overlap_slowdown: float = Field(0.05, description="slow-down of computation while traffic overlaps it")
    features: frozenset[Feature]
    schedules: tuple[str, ...]
    zero_stages: tuple[int, ...]
    pipeline_zero_stages: tuple[int, ...] | None = Field(
        None, description="stages that go with pp > 1, when fewer"
    )
    calibrated: str | None = Field(
        None, description="what its constants were fitted to; None: they are priors"
    )
    notes: str = ""

    def attention_generation(self, attention: str, architecture: str) -> str:
        """Generation of the kernel that runs for ``training.attention``; flash: the fused kernel of the framework."""
        if attention != "flash":
            return attention
        return self.flash_kernel.get(architecture, self.flash_kernel["default"])

    def state_law(self, precision: str) -> StateLaw:
        """The byte law for a job's precision."""
        family = (
            precision
            if precision in ("fp32", "fp16", "bf16")
            else ("fp32" if precision == "tf32" else "bf16")
        )
        return self.states[family]


HOST_FACTOR, EXPERT_FACTOR = "host_factor", "expert_factor"

TRAFFIC: Mapping[str, tuple[str, ...]] = {"hidden.dp": ("dp_reduce", "dp_gather")}
"""Constants that stand for several shares of hidden traffic."""


def with_constants(framework: Framework, values: Mapping[str, float]) -> Framework:
    """The profile with some fitted constants replaced.

    Args:
        values: ``hidden.<kind>`` (a share that the profile states as 0 stays 0: it does not overlap that traffic),
            ``host_factor`` (of host-side work per operator), ``expert_factor`` (per expert), or a field of the profile.
    """
    update: dict[str, object] = {}
    hidden: dict[str, float] = {}
    host: dict[str, float] = {}
    for name, value in values.items():
        if name.startswith("hidden."):
            kinds = TRAFFIC.get(name, (name.removeprefix("hidden."),))
            hidden |= {kind: value for kind in kinds if getattr(framework.hidden, kind) > 0.0}
        elif name == HOST_FACTOR:
            for field in ("forward_operator_s", "backward_operator_s", "collective_s"):
                host[field] = value * getattr(framework.host, field)
        elif name == EXPERT_FACTOR:
            host["expert_s"] = value * framework.host.expert_s
        else:
            update[name] = value
    if hidden:
        update["hidden"] = framework.hidden.model_copy(update=hidden)
    if host:
        update["host"] = framework.host.model_copy(update=host)
    return framework.model_copy(update=update)


def on_device(framework: Framework, accelerator: Accelerator) -> Framework:
    """The profile on a device; where one core computes, launches and moves messages, no traffic hides behind computation."""
    if not accelerator.synchronous:
        return framework
    return framework.model_copy(update={"hidden": Hidden(**dict.fromkeys(Hidden.model_fields, 0.0))})


def at_stated(framework: Framework, stated: Framework) -> Framework:
    """The profile with the constants that its file states instead of fitted ones; what a run changed of it besides (attention
    kernels of a release, byte laws) stays."""
    constants = {name: getattr(stated, name) for name in ("hidden", "host", "elementwise_factor")}
    return framework.model_copy(update=constants | {"calibrated": None})


def calibrated_framework(framework: Framework, calibration: str | None) -> Framework:
    """The profile with the constants that were fitted for it, and a note of it; unchanged without a calibration.

    Args:
        calibration: path of the file, as ``Cluster.calibration`` has it.

    Raises:
        PlannerError: the file is missing or no calibration.
    """
    if calibration is None:
        return framework
    fitted = applied_calibration(Path(calibration))
    values = fitted.values("framework", framework.name)
    if not values:
        return framework
    sources = dict.fromkeys(fitted.sources("framework", framework.name).values())
    changed = with_constants(framework, values)
    return changed.model_copy(update={"calibrated": "; ".join(sources)})


def load_framework(
    name: str, *, file: str | None = None, line: int | None = None, field: str = "training.framework"
) -> Framework:
    """The profile of that name.

    Raises:
        PlannerError: unknown name, with the nearest valid one.
    """
    if name not in FRAMEWORKS:
        raise PlannerError(
            f"unknown framework '{name}'; {suggest(name, FRAMEWORKS)}", file=file, line=line, field=field
        )
    from planner.documents import validate

    return validate(_profile(name), Framework)


def _profile(name: str) -> Document:
    """A profile's file over that of the profile which it says to be based on: another release of the same software."""
    from planner.documents.bulk import load_bulk

    path = resources.files("planner.jobs") / "frameworks" / f"{name}.yaml"
    with resources.as_file(path) as file_path:
        document = load_bulk(file_path)
    base = document.data.get("base")
    if base is None:
        return document
    own = {key: value for key, value in document.data.items() if key != "base"}
    return replace(document, data={**_profile(base).data, **own})
