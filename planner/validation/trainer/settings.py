"""What one run of the reference trainer is told: plain data, from a job and a layout, JSON both ways."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from planner.errors import PlannerError
from planner.jobs.framework import Framework, StateLaw
from planner.jobs.types import Job, LossOptions
from planner.layouts.layout import Layout
from planner.models.catalogue import load_spec
from planner.models.spec import ModelSpec
from planner.validation.trainer.refusals import require_runnable

Convention = Literal["pytorch", "megatron"]
Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PYTORCH_PROFILES = ("fsdp", "torchtitan", "composer-fsdp")
"""Profiles that shard tensors by DTensor; the others follow Megatron-LM's explicit collectives."""

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}


@dataclass(frozen=True)
class Settings:
    """One run.

    Args:
        model, layout, framework: as the plan has them, resolved.
        seq_len, global_batch: tokens per sequence, sequences per step.
        precision: of matmuls; storage follows the framework's state law.
        double: everything in 64 bits instead (to compare gradients exactly).
        attention: ``flash`` or ``cudnn``: PyTorch's fused kernel; ``unfused``: two products and a softmax.
        loss, cp_balance, bucket_bytes: as in the job (bucket_bytes: of gradients, the job's or the profile's).
        routing: ``learned`` by the router's scores, or ``balanced`` round robin with fixed sizes.
        seed: of weights and tokens; steps: optimizer updates; device: ``cpu`` (gloo) or ``cuda`` (NCCL).
        learning_rate, weight_decay: of AdamW; no warm-up.
    """

    model: ModelSpec
    layout: Layout
    framework: Framework
    seq_len: int
    global_batch: int
    precision: Precision = "bf16"
    double: bool = False
    attention: Literal["flash", "unfused", "cudnn"] = "flash"
    loss: LossOptions = field(default_factory=LossOptions)
    cp_balance: Literal["zigzag", "contiguous"] = "zigzag"
    bucket_bytes: float = 0.0
    routing: Literal["learned", "balanced"] = "learned"
    seed: int = 0
    steps: int = 3
    device: Device = "cpu"
    learning_rate: float = 1e-3
    weight_decay: float = 0.1

    @property
    def world_size(self) -> int:
        """Processes that the layout needs."""
        return self.layout.tp * self.layout.cp * self.layout.pp * self.layout.dp

    @property
    def convention(self) -> Convention:
        """Whose tensor parallelism is followed."""
        return "pytorch" if self.framework.name in PYTORCH_PROFILES else "megatron"

    def fuses(self, what: str) -> bool:
        """Whether this pattern runs as one kernel. Modules that DTensor shards run PyTorch's own kernels."""
        return self.convention == "megatron" and what in self.framework.fusions

    @property
    def law(self) -> StateLaw:
        """Bytes of each state class of the profile at this precision (64-bit runs follow fp32's law)."""
        return self.framework.state_law("fp32" if self.double else self.precision)

    @property
    def compute_dtype(self) -> str:
        """Name in torch of the dtype of matmuls and activations."""
        return _DTYPES["fp64" if self.double else self.precision]

    @property
    def parameter_dtype(self) -> str:
        """Name in torch of the dtype in which weights are stored: fp32 where the state law says four bytes."""
        if self.double:
            return _DTYPES["fp64"]
        return _DTYPES["fp32"] if self.law.parameters >= 4.0 else self.compute_dtype

    @property
    def tokens_per_step(self) -> int:
        """By which the summed loss is divided."""
        return self.global_batch * self.seq_len

    @property
    def samples_per_replica(self) -> int:
        """Sequences of one micro-batch times micro-batches."""
        return self.layout.micro_batch * self.layout.micro_batches

    def to_json(self) -> str:
        """One JSON object; ``from_json`` gives the settings back."""
        return TypeAdapter(Settings).dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str, *, file: str | Path | None = None) -> Settings:
        """The settings in ``text``.

        Raises:
            PlannerError: it is no such JSON; names the first bad field.
        """
        try:
            return TypeAdapter(Settings).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise PlannerError(first["msg"], file=file, field=place or None) from None


def settings_of(job: Job, layout: Layout, *, double: bool = False, **options: Any) -> Settings:
    """The run of one layout of a job.

    Args:
        double: compute and store in 64 bits.
        options: ``routing, seed, steps, device, learning_rate, weight_decay`` of ``Settings``.

    Raises:
        PlannerError: the job or the layout holds what the trainer does not run; names the feature.
    """
    training = job.training
    require_runnable(job, layout, double=double)
    spec = _spec(job)
    precision = "fp32" if training.precision == "tf32" else training.precision
    buckets = training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes)
    plain: dict[str, Any] = {
        "precision": precision if precision in PRECISIONS else "fp32",
        "attention": training.attention,
        "loss": training.loss,
        "cp_balance": training.cp_balance,
        "bucket_bytes": float(buckets),
        "double": double,
    }
    return Settings(spec, layout, job.framework, training.seq_len, training.global_batch, **(plain | options))


def _spec(job: Job) -> ModelSpec:
    """The description behind the job's graph, from the plain copy that the job carries."""
    model = job.source.get("model", job.model.name)
    return load_spec(json.loads(json.dumps(model)))
