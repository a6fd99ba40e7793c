"""The prediction of one layout in full: breakdown by rank and class, communication, utilisation, interval, evidence."""

from __future__ import annotations

from collections.abc import Sequence

from planner.costs.assemble import assemble
from planner.costs.breakdown import rank_communication, rank_flops, rank_time
from planner.costs.evaluate import fits, memory_totals
from planner.costs.instants import INSTANTS
from planner.costs.memory import StageMemory, stage_memory
from planner.costs.pipeline import CLOSED_FORMS
from planner.costs.prices import PriceRows, price_model
from planner.costs.stages import StageGroup, stage_groups
from planner.costs.step import step_time
from planner.errors import PlannerError
from planner.jobs.prediction import MemoryBreakdown, Prediction, RankPrediction
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.legality import require_legal


def predict(job: Job, layout: Layout, *, rank: int | None = None) -> Prediction:
    """Everything that is predicted for one layout.

    Args:
        rank: its place in a ranking, None when it stands alone.

    Raises:
        PlannerError: the layout is illegal (the first violated rule), or its schedule has no closed form.
    """
    require_legal(job, layout)
    if layout.schedule not in CLOSED_FORMS:
        raise PlannerError(
            f"schedule {layout.knobs()['schedule']} has no closed form and needs event simulation (plan simulate); "
            f"priced here: {', '.join(CLOSED_FORMS)}",
            field="layout.schedule",
        )
    row = from_layouts([layout])
    table = price_model(job, row)
    prices = table.rows(row)
    worst = next(stage_groups(row, job.model))
    total_s = float(step_time(job, row, prices, worst).total[0])
    group = next(stage_groups(row, job.model, every_rank=True))
    memories = [stage_memory(job, row, prices, stage) for stage in group.classes]
    ranks = _ranks(job, row, prices, group, memories, total_s)
    flops = [rank_flops(row, prices, stage, group) for stage in group.classes]
    executed = sum(total for total, _ in flops) / sum(total - again for total, again in flops)
    top = max(ranks, key=lambda item: (item.time.total_s - item.time.bubble_s, -item.pipeline_rank))
    fullest = max(range(len(memories)), key=lambda i: float(memories[i].peak[0]))
    totals = memory_totals(job, row, table)
    memory = _memory(job, memories[fullest], bool(totals.fits[0]), [float(m.peak[0]) for m in memories])
    return assemble(job, layout, rank, total_s, top, memory, ranks, executed)


def _ranks(
    job: Job,
    row: Layouts,
    prices: PriceRows,
    group: StageGroup,
    memories: Sequence[StageMemory],
    total_s: float,
) -> tuple[RankPrediction, ...]:
    step = step_time(job, row, prices, group)
    result = []
    for stage, time, memory in zip(group.classes, step.stages, memories, strict=True):
        single = bool(fits(job, memory.used, memory.host, memory.nvme)[0])
        breakdown = rank_time(row, prices, stage, group, time, float(step.hops[0]), total_s)
        result.append(
            RankPrediction(
                pipeline_rank=stage.ranks[0],
                virtual_stages=stage.virtual_stages,
                layers=stage.layers(job.model),
                flops=rank_flops(row, prices, stage, group)[0],
                time=breakdown,
                memory=_memory(job, memory, single, ()),
                communication=rank_communication(job, row, prices, group, stage, breakdown),
            )
        )
    return tuple(result)


def _memory(job: Job, memory: StageMemory, fits_device: bool, by_rank: Sequence[float]) -> MemoryBreakdown:
    capacity = job.cluster.accelerator.memory_bytes
    return MemoryBreakdown(
        capacity_bytes=capacity,
        peak_bytes=float(memory.peak[0]),
        reserved_bytes=float(memory.reserved[0]),
        device_used_bytes=float(memory.used[0]),
        reserve_bytes=job.search.memory_reserve * capacity,
        fits=fits_device,
        peak_at=INSTANTS[int(memory.worst[0])],
        by_class=memory.by_class(0),
        by_rank=tuple(by_rank),
    )
