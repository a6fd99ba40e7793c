"""A traced step against the prediction of the same job, layout and pipeline rank, term by term."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from planner.costs.breakdown import rank_flops
from planner.costs.memory import stage_memory
from planner.costs.predict import predict
from planner.costs.prices import price_model
from planner.costs.stages import stage_groups
from planner.costs.states import StateBytes
from planner.jobs.prediction import CommunicationRow, RankPrediction
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.validation.structure.conventions import attention_share
from planner.validation.structure.record import Trace, TracedCall

EXACT = 1e-12
"""Relative difference that is rounding: sums of integers in floating point."""

PEAK_ALLOWED = {"dense FSDP": 0.03, "other": 0.05}

Area = Literal["flops", "communication", "persistent", "peak"]


@dataclass(frozen=True)
class Term:
    """One figure twice.

    Args:
        area, name: what it is; for communication the kind of call, and the figures are calls per step.
        predicted, traced: the figures.
        allowed: largest relative difference that passes.
        convention: named difference of conventions that was taken out of ``traced``, empty for none.
    """

    area: Area
    name: str
    predicted: float
    traced: float
    allowed: float = EXACT
    convention: str = ""

    @property
    def error(self) -> float:
        """predicted / traced - 1."""
        if self.predicted == self.traced:
            return 0.0
        return self.predicted / self.traced - 1.0 if self.traced else float("inf")

    @property
    def passed(self) -> bool:
        return abs(self.error) <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Plain data; a call that only one side has is an error of None."""
        error = self.error if self.traced else None
        return asdict(self) | {"error": error, "passed": self.passed}


@dataclass(frozen=True)
class Figures:
    """What is predicted of one pipeline rank.

    Args:
        flops: (all, of which recompute).
        states: persistent bytes.
        rank: its prediction.
    """

    flops: tuple[float, float]
    states: StateBytes
    rank: RankPrediction


def figures_of(job: Job, layout: Layout, pipeline_rank: int) -> Figures:
    """Everything of the prediction that a trace can check."""
    prediction = predict(job, layout)
    row = from_layouts([layout])
    prices = price_model(job, row).rows(row)
    group = next(stage_groups(row, job.model, every_rank=True))
    stage = group.classes[pipeline_rank]
    return Figures(
        rank_flops(row, prices, stage, group),
        stage_memory(job, row, prices, stage).states,
        prediction.ranks[pipeline_rank],
    )


def compare(job: Job, layout: Layout, pipeline_rank: int, trace: Trace) -> tuple[Term, ...]:
    """All terms of one traced rank."""
    figures = figures_of(job, layout, pipeline_rank)
    return (
        *_flops(job, layout, figures, trace),
        *communication_terms(figures.rank.communication, trace.calls),
        *_persistent(figures.states, trace),
        Term("peak", "peak", figures.rank.memory.peak_bytes, trace.peak_bytes, _peak_allowed(job, layout)),
    )


def _flops(job: Job, layout: Layout, figures: Figures, trace: Trace) -> Iterator[Term]:
    everything, again = figures.flops
    seen = attention_share(job, layout)

    def counted(*passes: str) -> float:
        attention = sum(trace.attention_flops.get(pass_, 0) for pass_ in passes)
        matmuls = sum(trace.flops.get(pass_, 0) for pass_ in passes) - attention
        return float(matmuls + attention / seen.share)

    yield Term("flops", "all", everything, counted(*trace.flops), convention=seen.name)
    if again or trace.flops.get("recompute"):
        yield Term("flops", "recompute", again, counted("recompute"), convention=seen.name)


def _persistent(states: StateBytes, trace: Trace) -> Iterator[Term]:
    for name in ("parameters", "gradients", "optimizer"):
        yield Term("persistent", name, float(getattr(states, name)[0]), trace.persistent.get(name, 0))


def communication_terms(rows: Iterable[CommunicationRow], calls: Iterable[TracedCall]) -> Iterator[Term]:
    """Calls per step of every kind: collective, axis, pass and bytes are the name, so a wrong size is two wrong terms."""
    predicted: defaultdict[tuple[str, str, str, float], float] = defaultdict(float)
    traced: defaultdict[tuple[str, str, str, float], float] = defaultdict(float)
    for row in rows:
        predicted[row.axis, row.collective, row.pass_, round(row.bytes_per_call, 3)] += row.calls_per_step
    for call in calls:
        traced[call.axis, call.collective, call.pass_, float(call.nbytes)] += call.calls
    for key in sorted({**predicted, **traced}):
        axis, collective, pass_, nbytes = key
        name = f"{axis} {collective} {pass_} {nbytes:,.0f} B"
        yield Term("communication", name, predicted[key], traced[key])


def _peak_allowed(job: Job, layout: Layout) -> float:
    sharded = layout.zero_stage in (2, 3) and layout.tp * layout.cp * layout.pp == 1
    return PEAK_ALLOWED["dense FSDP" if sharded and not job.model.experts else "other"]
