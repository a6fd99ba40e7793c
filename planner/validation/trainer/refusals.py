"""What the reference trainer does not run, each with the field that asks for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Offload
from planner.models.catalogue import load_spec
from planner.models.spec import ModelSpec

Refusal = tuple[bool, str, str]
"""(asked for, field, what the trainer runs instead)."""


def require_runnable(job: Job, layout: Layout, *, double: bool = False) -> None:
    """Refuse a job or layout that the reference trainer cannot run.

    Args:
        double: the run is in 64 bits, whatever the job's precision.

    Raises:
        PlannerError: names the first feature in the way.
    """
    spec = load_spec(job.source.get("model", job.model.name))
    for asked, field, runs in (
        *_of_model(spec),
        *_of_training(job, double),
        *_of_layout(job, layout),
        *_of_shards(job, layout),
        *_of_recompute(job, layout),
        *_of_tensors(job, spec, layout),
    ):
        if asked:
            raise PlannerError(f"the reference trainer does not run this: {runs}", field=field)


def _of_model(spec: ModelSpec) -> Iterator[Refusal]:
    yield spec.family != "decoder", "model.family", f"found {spec.family}; decoders only"
    yield spec.norm == "none", "model.norm", "found none; rms and layer"
    yield spec.norm_placement != "pre", "model.norm_placement", f"found {spec.norm_placement}; pre only"
    yield spec.parallel_block, "model.parallel_block", "attention and MLP run one after the other"
    yield spec.positions not in ("learned", "rope", "none"), "model.positions", "learned, rope or none"
    yield spec.qk_norm == "heads", "model.qk_norm", "found heads; none or head_dim"
    yield set(spec.layer_kinds()) != {"global"}, "model.layer_pattern", "attention over the whole sequence"
    yield spec.mtp_layers > 0, "model.mtp_layers", "no multi-token prediction"
    yield spec.embedding_norm, "model.embedding_norm", "no norm behind the embedding"
    yield spec.token_types > 0, "model.token_types", "no token types"
    yield spec.attention_sinks, "model.attention_sinks", "softmax without sinks"
    capped = spec.attention_soft_cap or spec.final_soft_cap
    yield capped, "model.attention_soft_cap", "no soft caps"
    moe = spec.moe
    if moe is not None:
        biased = moe.router_bias or moe.expert_bias or moe.activation_limit is not None
        yield biased, "model.moe", "experts without biases or clamped activations"


def _of_training(job: Job, double: bool) -> Iterator[Refusal]:
    training = job.training
    plain = training.precision in ("fp32", "tf32", "bf16", "fp16")
    yield not (plain or double), "training.precision", f"found {training.precision}; fp32, bf16, fp16"
    yield training.optimizer != "adamw", "training.optimizer", f"found {training.optimizer}; adamw"
    yield training.dropout > 0, "training.dropout", "masks differ between layouts; dropout 0 only"
    yield training.capture is not False, "training.capture", "no CUDA graphs"
    yield training.compile, "training.compile", "eager PyTorch"
    yield training.loss.chunk is not None, "training.loss.chunk", "logits of all tokens at once"
    yield training.moe.capacity_factor is not None, "training.moe.capacity_factor", "no token is dropped"
    other = training.moe.dispatcher != "alltoall" and job.model.experts > 0
    yield other, "training.moe.dispatcher", f"found {training.moe.dispatcher}; alltoall"
    states = (
        training.optimizer_state_dtype_bytes,
        training.gradient_dtype_bytes,
        training.gradient_reduce_bytes,
        training.parameter_gather_bytes,
    )
    quantised = any(value is not None for value in states)
    yield quantised, "training.gradient_dtype", "states in the dtypes of the framework profile"


def _of_layout(job: Job, layout: Layout) -> Iterator[Refusal]:
    yield layout.offload != Offload(), "layout.offload", "every state stays on the device"
    yield layout.slices > 1, "layout.slices", "whole sequences pass the pipeline"
    yield layout.shard.parameters_secondary > 0, "layout.shard.parameters_secondary", "no second shard"
    maxtext = job.framework.name == "maxtext"
    yield maxtext, "training.framework", "maxtext is JAX; a PyTorch profile is needed"


def _of_shards(job: Job, layout: Layout) -> Iterator[Refusal]:
    from planner.validation.trainer.settings import PYTORCH_PROFILES

    shard = layout.shard
    sizes = (shard.optimizer, shard.gradients, shard.parameters)
    ladder = all(later in (1, earlier) for earlier, later in itertools.pairwise(sizes))
    yield (
        not ladder,
        "layout.shard",
        "one shard group: of optimizer states, then gradients, then parameters too",
    )
    wrapped = job.framework.name in PYTORCH_PROFILES and layout.tp > 1
    first = sizes[0] > 1 and sizes[1] == 1
    yield (
        wrapped and first,
        "layout.shard.optimizer",
        "ZeRO 1 over flat buckets needs plain tensors, not DTensor",
    )


def _of_recompute(job: Job, layout: Layout) -> Iterator[Refusal]:
    by_operator = job.framework.selective_outputs is not None
    chosen = set(layout.recompute.modules) if layout.recompute.mode == "selective" else set()
    other = chosen & {"attention", "residual", "embedding", "head", "loss"}
    runs = f"found {', '.join(sorted(other))}; units that are modules of a layer"
    yield bool(other) and not by_operator, "layout.recompute.modules", runs


def _of_tensors(job: Job, spec: ModelSpec, layout: Layout) -> Iterator[Refusal]:
    from planner.validation.trainer.settings import PYTORCH_PROFILES

    if layout.tp == 1:
        return
    pytorch = job.framework.name in PYTORCH_PROFILES
    few = pytorch and spec.mla is None and spec.key_heads % layout.tp != 0
    yield few, "layout.tp", "DTensor cuts whole KV heads: tp must divide kv_heads"
    odd = not pytorch and spec.padded_vocab % layout.tp != 0
    yield odd, "model.pad_vocab_to", f"tp {layout.tp} must divide the padded vocabulary {spec.padded_vocab}"
