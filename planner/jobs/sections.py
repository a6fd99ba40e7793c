"""From the sections of a job file to plain values."""

from __future__ import annotations

from planner.errors import PlannerError
from planner.jobs.files import SearchSection, TrainingSection
from planner.jobs.lengths import equal_length
from planner.jobs.place import JobDocument
from planner.jobs.types import LossOptions, MoeOptions, SearchOptions, Training
from planner.models.graph import ModelGraph


def training_of(place: JobDocument, section: TrainingSection, model: ModelGraph) -> Training:
    """The training of a job's section, its sequence and batch settled.

    Raises:
        PlannerError: lengths or batches that contradict each other.
    """
    seq_len = _seq_len(place, section, model)
    return Training(
        global_batch=_global_batch(place, section, seq_len),
        seq_len=seq_len,
        precision=section.precision,
        optimizer=section.optimizer,
        optimizer_state_dtype_bytes=section.optimizer_state_dtype,
        gradient_dtype_bytes=section.gradient_dtype,
        gradient_reduce_bytes=section.gradient_reduce_dtype,
        parameter_gather_bytes=section.parameter_gather_dtype,
        cp_balance=section.cp_balance,
        attention=section.attention,
        dropout=section.dropout,
        loss=LossOptions(section.loss.vocab_parallel, section.loss.fused, section.loss.chunk),
        capture=section.capture,
        compile=section.compile,
        launch_blocking=section.launch_blocking,
        fp8_recipe=section.fp8_recipe,
        moe=MoeOptions(section.moe.router_imbalance, section.moe.capacity_factor, section.moe.dispatcher),
        overlap=section.overlap,
        tokens=section.tokens,
    )


def _seq_len(place: JobDocument, section: TrainingSection, model: ModelGraph) -> int:
    if section.lengths is None:
        return section.seq_len or model.seq_len
    if section.seq_len is not None:
        raise place.fault(("training", "lengths"), "found besides seq_len; accepted: one of them")
    try:
        return equal_length(section.lengths, base=place.base)
    except PlannerError as error:
        raise place.fault(("training", "lengths"), error.message) from None


def _global_batch(place: JobDocument, section: TrainingSection, seq_len: int) -> int:
    tokens, sequences = section.global_batch_tokens, section.global_batch
    if tokens is not None and sequences is not None:
        raise place.fault(
            ("training", "global_batch_tokens"), "found besides global_batch; accepted: one of them"
        )
    if sequences is not None:
        return sequences
    if tokens is None:
        raise place.fault(("training", "global_batch"), "is missing; it (or global_batch_tokens) is required")
    if tokens % seq_len:
        below, above = tokens // seq_len * seq_len, -(-tokens // seq_len) * seq_len
        near = f"{above}" if below == 0 else f"{below} or {above}"
        raise place.fault(
            ("training", "global_batch_tokens"),
            f"found {tokens} tokens, which is no multiple of seq_len {seq_len}; nearest: {near}",
        )
    return tokens // seq_len


def search_of(section: SearchSection) -> SearchOptions:
    """The options of a search, its target as plain numbers."""
    target: dict[str, float] = {}
    if section.target is not None:
        given = (
            ("tokens_per_s", section.target.tokens_per_s),
            ("deadline_s", section.target.deadline),
            ("tokens", section.target.tokens),
        )
        target = {name: float(value) for name, value in given if value is not None}
    return SearchOptions(
        objective=section.objective,
        target=target,
        fix=section.fix,
        limit=section.limit,
        allow=section.allow,
        memory_reserve=section.memory_reserve,
    )
