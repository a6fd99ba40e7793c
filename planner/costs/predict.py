"""The prediction of one layout in full: breakdown by rank and class, communication, utilisation, interval, evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.assemble import assemble
from planner.costs.block import pattern_of
from planner.costs.breakdown import communication_kind, rank_communication, rank_flops, rank_time
from planner.costs.evaluate import fits, memory_totals
from planner.costs.instants import INSTANTS
from planner.costs.memory import StageMemory, stage_memory
from planner.costs.pipeline import CLOSED_FORMS
from planner.costs.prices import PriceRows, Prices, price_model
from planner.costs.stages import StageGroup, stage_groups
from planner.costs.step import StepTime, step_time
from planner.errors import PlannerError
from planner.jobs.prediction import CommunicationRow, MemoryBreakdown, Prediction, RankPrediction
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.legality import require_legal


def predict(job: Job, layout: Layout, *, rank: int | None = None, prices: Prices | None = None) -> Prediction:
    """Everything that is predicted for one layout.

    Args:
        rank: its place in a ranking, None when it stands alone.
        prices: that cover this layout, all of the same pattern of collectives (``pattern_of``); computed here when None.

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
    table = price_model(job, row) if prices is None else prices
    found = table.rows(row)
    worst = next(stage_groups(row, job.model))
    step = step_time(job, row, found, worst)
    total_s = float(step.total[0])
    group = next(stage_groups(row, job.model, every_rank=True))
    ranks = _ranks(job, row, found, group, _Classes.of(job, row, found, worst, step))
    flops = [rank_flops(row, found, stage, group) for stage in group.classes]
    executed = sum(total for total, _ in flops) / sum(total - again for total, again in flops)
    top = max(ranks, key=lambda item: (item.time.total_s - item.time.bubble_s, -item.pipeline_rank))
    peaks = [item.memory.peak_bytes for item in ranks]
    fullest = ranks[peaks.index(max(peaks))].memory
    every_fits = bool(memory_totals(job, row, table).fits[0])
    memory = dataclasses.replace(fullest, fits=every_fits, by_rank=tuple(peaks))
    return assemble(job, layout, rank, total_s, top, memory, ranks, executed)


def predict_ranking(job: Job, layouts: Layouts) -> tuple[Prediction, ...]:
    """``predict`` of every row, ranked in their order; layouts with the same kinds of collectives are priced together."""
    every = [layouts.row(place) for place in range(len(layouts))]
    tables: dict[int, Prices] = {}
    for _, rows in pattern_of(layouts, job):
        table = price_model(job, from_layouts(every[place] for place in rows))
        tables |= dict.fromkeys(rows.tolist(), table)
    return tuple(
        predict(job, layout, rank=place + 1, prices=tables[place]) for place, layout in enumerate(every)
    )


@dataclass(frozen=True)
class _Classes:
    """What equal pipeline ranks of a single layout share.

    Args:
        step: with a time for each class; place: rank -> its class.
        memory: of each class, one row for each member.
    """

    step: StepTime
    place: Mapping[int, int]
    group: StageGroup
    memory: tuple[StageMemory, ...]

    @staticmethod
    def of(job: Job, row: Layouts, prices: PriceRows, group: StageGroup, step: StepTime) -> _Classes:
        memory = []
        for stage in group.classes:
            members = np.zeros(stage.count, dtype=np.int64)
            each = np.array(stage.ranks, dtype=np.int64)
            memory.append(stage_memory(job, row.take(members), prices.take(members), stage, each))
        place = {rank: index for index, stage in enumerate(group.classes) for rank in stage.ranks}
        return _Classes(step, place, group, tuple(memory))


def _ranks(
    job: Job, row: Layouts, prices: PriceRows, group: StageGroup, classes: _Classes
) -> tuple[RankPrediction, ...]:
    step, total_s = classes.step, float(classes.step.total[0])
    alike: dict[object, tuple[CommunicationRow, ...]] = {}
    result = []
    for stage in group.classes:
        rank = stage.ranks[0]
        index = classes.place[rank]
        breakdown = rank_time(row, prices, stage, group, step.stages[index], float(step.hops[0]), total_s)
        sent = communication_kind(job, row, group, stage)
        if sent not in alike:
            alike[sent] = rank_communication(job, row, prices, group, stage, breakdown)
        member = classes.group.classes[index].ranks.index(rank)
        result.append(
            RankPrediction(
                pipeline_rank=rank,
                virtual_stages=stage.virtual_stages,
                layers=stage.layers(job.model),
                flops=rank_flops(row, prices, stage, group)[0],
                time=breakdown,
                memory=memory_breakdown(job, classes.memory[index], member),
                communication=alike[sent],
            )
        )
    return tuple(result)


def memory_breakdown(job: Job, memory: StageMemory, row: int) -> MemoryBreakdown:
    """Memory of one rank, a row of its class, as reports show it."""
    capacity = job.cluster.accelerator.memory_bytes
    return MemoryBreakdown(
        capacity_bytes=capacity,
        peak_bytes=float(memory.peak[row]),
        reserved_bytes=float(memory.reserved[row]),
        device_used_bytes=float(memory.used[row]),
        reserve_bytes=job.search.memory_reserve * capacity,
        fits=bool(fits(job, memory.used, memory.host, memory.nvme)[row]),
        peak_at=INSTANTS[int(memory.worst[row])],
        by_class=memory.by_class(row),
        by_rank=(),
    )
