"""What is alive on one device at each instant that may be the worst, by class of memory. Docs: docs/memory.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.costs.elements import stored_elements
from planner.costs.pipeline import keeps_logits
from planner.costs.prices import PriceRows
from planner.costs.replicas import holds_back
from planner.costs.saved import logit_bytes
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass
from planner.costs.states import (
    Groups,
    StateBytes,
    parameter_shards,
    shard_groups,
    state_bytes,
    tied_elsewhere,
    tier_fraction,
    updated_elements,
)
from planner.jobs.framework import StateLaw
from planner.jobs.prediction import MEMORY_CLASSES
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts

INSTANTS = ("layer backward", "head backward", "optimizer step", "embedding backward")
OPTIMIZER_STEP = INSTANTS.index("optimizer step")
"""The one that is no part of forward and backward."""

LOGIT_GRADIENT_BYTES = 2.0
"""Bytes per logit of the gradient that the head's matmuls read."""

SCRATCH_BYTES = 2.0
"""Transformer Engine keeps one 16-bit weight gradient per distinct weight shape while it accumulates in fp32."""


@dataclass(frozen=True)
class RankStates:
    """A stage class with its states."""

    job: Job
    layouts: Layouts
    prices: PriceRows
    stage: StageClass
    groups: Groups
    states: StateBytes

    @property
    def counts(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Recomputed and plain blocks."""
        return self.stage.recomputed, self.stage.plain

    @property
    def law(self) -> StateLaw:
        return self.job.framework.state_law(self.job.training.precision)

    @property
    def elements(self) -> FloatArray:
        """Local parameters."""
        return self.states.dense_elements + self.states.expert_elements

    def only(self, kind: str) -> tuple[dict[str, int], dict[str, int]]:
        """Recomputed and plain blocks of one kind."""
        kinds = self.job.model.blocks
        recomputed, plain = ({n: k for n, k in c.items() if kinds[n].kind == kind} for c in self.counts)
        return recomputed, plain

    @property
    def fsdp2(self) -> bool:
        """Whether PyTorch's FSDP2 holds the states."""
        return self.job.framework.shard_runtime == "fsdp2"

    @cached_property
    def unit(self) -> FloatArray:
        """Parameters of the largest block: what is gathered and scattered at once."""
        return self.prices.largest(("dense", "expert"), *self.counts)

    @cached_property
    def layer(self) -> FloatArray:
        """Parameters of the largest layer, of the largest block where there is none."""
        layers = self.only("layer")
        return self.prices.largest(("dense", "expert"), *layers) if any(layers) else self.unit

    @cached_property
    def ahead(self) -> FloatArray:
        """Parameters gathered ahead of the unit at work: the next layer's, under FSDP2 without its routed experts, a unit of
        their own that is gathered while the rest of their layer runs."""
        layers = self.only("layer")
        return self.prices.largest(("dense",), *layers) if self.fsdp2 and any(layers) else self.layer


def rank_states(job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass) -> RankStates:
    """A rank of a stage class with the states that it stores.

    Args:
        layouts, prices: the same rows.
    """
    groups = shard_groups(layouts)
    states = state_bytes(job, groups, *stored_elements(job, layouts, prices, stage))
    return RankStates(job, layouts, prices, stage, groups, states)


def instants_of(part: RankStates, activations: FloatArray, one: FloatArray) -> list[dict[str, FloatArray]]:
    """What is alive at each candidate for the worst instant, by class.

    Args:
        one: of ``activations``, those of one micro-batch when all are alive before the first backward, else infinite.
    """
    stored = _stored_gradients(part)
    # dropped by the update, made anew by one micro-batch: they grow while its activations go, so the worst moment has either
    # all activations and no gradient, or that micro-batch's of one layer and all gradients
    fresh = np.isfinite(one) & part.job.framework.buffers.gradients_freed
    gone = np.where(fresh, one, 0.0) * (1.0 - 1.0 / max(part.stage.units, 1))
    grown = np.where(fresh, np.maximum(stored - gone, 0.0), 0.0)
    common = _standing(part) | {"gradients": np.where(fresh, 0.0, stored), "activations": activations}
    layers, head = part.only("layer"), part.only("head")
    whole = _whole_gradients(part)
    moment = part.prices.largest(("again", "moment"), *layers)
    layer = common | {"transient": moment + whole + grown}
    step = common | {
        "gradients": stored,
        "activations": np.zeros_like(stored),
        "gathered_parameters": np.where(
            part.fsdp2 | (parameter_shards(part.job, part.groups.dense) > 1),
            0.0,
            common["gathered_parameters"],
        ),
        "optimizer_transient": part.law.update
        * updated_elements(part.states, part.groups)
        * tier_fraction(part.layouts, "optimizer", "hbm"),
    }
    at_head = common | _at_head(part, head, whole) if any(head) else layer
    return [layer, at_head, step, common | _at_embedding(part, stored, whole)]


def _at_head(
    part: RankStates, head: tuple[Mapping[str, int], Mapping[str, int]], whole: FloatArray
) -> dict[str, FloatArray]:
    """Logits and what is alive beside them: at the loss, or while the head's matmuls run backward, when only the 16-bit
    gradient of the logits is left. The larger of the two.
    """
    c = part.layouts.columns
    one = part.prices.total("logits", *head)
    logits = one * np.where(keeps_logits(c["schedule"]), c["micro_batches"], 1.0)
    left = logits - one * np.maximum(1.0 - LOGIT_GRADIENT_BYTES / logit_bytes(part.job, part.layouts), 0.0)
    gathered = part.law.gathered * _head_unit(part, head)
    return _larger(
        {
            "transient": np.zeros_like(logits),
            "logits": logits,
            "gathered_parameters": _gathered(part, gathered),
        },
        {
            "transient": part.prices.total("moment", *head) + whole,
            "logits": left,
            "gathered_parameters": _gathered(part, gathered + part.law.gathered * part.ahead),
        },
    )


def _at_embedding(part: RankStates, stored: FloatArray, whole: FloatArray) -> dict[str, FloatArray]:
    """The end of backward, all activations gone: DTensor makes the gradient of a whole token table, of which tensor-parallel
    ranks then take their rows (``embedding_dense_backward`` of torch/distributed/tensor/_ops).
    """
    tables = part.prices.total("dense", *part.only("embedding"))
    tp = part.layouts.columns["tp"]
    rows = np.where((tp > 1) & part.fsdp2, part.law.gathered * tables, 0.0)
    return {
        "activations": np.zeros_like(stored),
        "gradients": stored,
        "gathered_parameters": _gathered(part, part.law.gathered * tables),
        "transient": np.where(
            rows > 0.0, (tp + 1.0) * rows + np.minimum(whole, part.law.reduced * part.layer), 0.0
        ),
    }


def _head_unit(part: RankStates, head: tuple[Mapping[str, int], Mapping[str, int]]) -> FloatArray:
    """Parameters that are gathered with the head: its own, or the table that it is tied to."""
    elements = part.prices.total("dense", *head)
    if not part.job.model.tied_embeddings:
        return elements
    own = part.prices.total("dense", *part.only("embedding"))
    borrowed = tied_elsewhere(part.job.model, part.stage)
    return sum((local_parameter(table.axes, part.layouts) for table in borrowed), elements + own)


def _larger(a: dict[str, FloatArray], b: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Row by row, the classes of whichever adds up to more."""
    first = sum(a.values(), np.zeros(1)) >= sum(b.values(), np.zeros(1))
    return {name: np.where(first, a[name], b[name]) for name in a}


def _standing(part: RankStates) -> dict[str, FloatArray]:
    """Classes that stay as they are through forward and backward; the others are zero."""
    law, groups, states = part.law, part.groups, part.states
    kept = tier_fraction(part.layouts, "parameters", "hbm")
    staged = np.minimum(2.0 * part.unit * law.gathered / groups.dense.parameters, states.parameters)
    return dict.fromkeys(MEMORY_CLASSES, np.zeros(len(part.layouts))) | {
        "parameters": states.parameters * kept + staged * (1.0 - kept),
        "optimizer": states.optimizer * tier_fraction(part.layouts, "optimizer", "hbm"),
        "gathered_parameters": _gathered(part, _unit_and_next(part)),
        "communication_buffers": _communication(part),
    }


def _stored_gradients(part: RankStates) -> FloatArray:
    """Gradients once backward has passed every layer, with the scratch of fused accumulation."""
    shard = part.states.gradients * tier_fraction(part.layouts, "gradients", "hbm")
    whole = holds_back(part.job, part.layouts) & (part.groups.dense.gradients > 1)
    stored = np.where(whole, part.law.reduced * part.elements, shard)
    if part.job.framework.buffers.gradient_scratch == "distinct_shapes":
        return stored + SCRATCH_BYTES * _scratch(part.job, part.stage, part.layouts)
    return stored


def _whole_gradients(part: RankStates) -> FloatArray:
    """Gradients of one unit before they are scattered: under FSDP2 those of experts are let go before the next layer's passes,
    when the rest of their own layer is reduced."""
    if part.job.framework.buffers.gradient_scratch != "unsharded_unit":
        return np.zeros(len(part.layouts))
    often = (part.groups.dense.gradients > 1) & ~holds_back(part.job, part.layouts)
    unit = part.prices.largest(("dense",), *part.counts) if part.fsdp2 else part.unit
    return np.where(often, unit * part.law.reduced, 0.0)


def _communication(part: RankStates) -> FloatArray:
    """A gradient bucket, no larger than the rank's gradients, where gradients are copied to be reduced (Megatron-LM's lie in one
    flat buffer and are reduced there), and a second one that fills while it travels; the messages of the pipeline.
    """
    job, groups = part.job, part.groups
    replicas = (groups.dense.replicas > 1) | (
        (groups.expert.replicas > 1) & (part.states.expert_elements > 0)
    )
    bucket = float(job.training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes))
    copied = replicas & (job.framework.buffers.gradient_scratch == "buckets")
    count = 2.0 if job.framework.hidden.dp_reduce > 0.0 else 1.0
    buckets = np.where(copied, count * np.minimum(bucket, part.law.reduced * part.elements), 0.0)
    messages = 2.0 * part.prices.largest(("stream",), *part.counts)
    return buckets + np.where(part.layouts.columns["pp"] > 1, messages, 0.0)


def _gathered(part: RankStates, units: FloatArray) -> FloatArray:
    """Gathered parameters: those of the ``units`` in use when shards are gathered unit by unit, all when a 16-bit copy stays."""
    law, groups = part.law, part.groups
    whole = law.gathered * part.elements
    copied = (law.parameters > law.gathered) & (part.fsdp2 | (groups.dense.optimizer > 1))
    copies = np.where(copied, whole, 0.0)
    one_by_one = (groups.dense.parameters > 1) & ~holds_back(part.job, part.layouts)
    return np.where(one_by_one, np.minimum(units, whole), copies)


def _unit_and_next(part: RankStates) -> FloatArray:
    """Bytes of the unit that runs backward and of the one that is gathered ahead of it: two layers under FSDP2, whose head lets
    go of its weights before."""
    first = part.layer if part.fsdp2 else part.unit
    return part.law.gathered * (first + part.ahead)


def _scratch(job: Job, stage: StageClass, layouts: Layouts) -> FloatArray:
    """Local elements of the distinct matrix shapes of a stage, one expert at a time."""
    total = np.zeros(len(layouts))
    seen: set[tuple[object, ...]] = set()
    for name in {**stage.recomputed, **stage.plain}:
        block = job.model.blocks[name]
        for operator in block.operators:
            if operator.kind != "einsum":
                continue
            axes = tuple(a for a in block.parameters[operator.parameters[0]].axes if a.name != "experts")
            if axes not in seen:
                seen.add(axes)
                total = total + local_parameter(axes, layouts)
    return total
