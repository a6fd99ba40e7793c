"""The prediction of one layout in full: breakdown by rank and class, communication, utilisation, interval, evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.assemble import assemble
from planner.costs.block import pattern_of
from planner.costs.breakdown import rank_flops, rank_time
from planner.costs.evaluate import fits, memory_totals
from planner.costs.instants import INSTANTS
from planner.costs.memory import StageMemory, stage_memory
from planner.costs.pipeline import CLOSED_FORMS
from planner.costs.prices import PriceRows, price_model
from planner.costs.rank_communication import Traffic, communication_kind, rank_communication, traffic_of
from planner.costs.stages import StageGroup, stage_groups
from planner.costs.step import StepTime, step_time
from planner.errors import PlannerError
from planner.jobs.prediction import CommunicationRow, MemoryBreakdown, Prediction, RankPrediction
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
    _require_priced(job, layout)
    (found,) = _predicted(job, from_layouts([layout]), [rank])
    return found


def predict_ranking(job: Job, layouts: Layouts) -> tuple[Prediction, ...]:
    """``predict`` of every row, ranked in their order; layouts with the same kinds of collectives are priced together."""
    every = [layouts.row(place) for place in range(len(layouts))]
    for layout in every:
        _require_priced(job, layout)
    found: dict[int, Prediction] = {}
    for _, rows in pattern_of(layouts, job):
        some = from_layouts(every[place] for place in rows)
        ranks = (rows + 1).tolist()
        found |= zip(ranks, _predicted(job, some, ranks), strict=True)
    return tuple(found[place + 1] for place in range(len(every)))


def _require_priced(job: Job, layout: Layout) -> None:
    require_legal(job, layout)
    if layout.schedule not in CLOSED_FORMS:
        raise PlannerError(
            f"schedule {layout.knobs()['schedule']} has no closed form and needs event simulation (plan simulate); "
            f"priced here: {', '.join(CLOSED_FORMS)}",
            field="layout.schedule",
        )


def _predicted(job: Job, layouts: Layouts, ranks: Sequence[int | None]) -> tuple[Prediction, ...]:
    """Predictions of layouts of the same pattern of collectives; ``ranks``: their places in a ranking."""
    table = price_model(job, layouts)
    prices, fit = table.rows(layouts), memory_totals(job, layouts, table).fits
    found: dict[int, Prediction] = {}
    for group in stage_groups(layouts, job.model):
        alike = _Alike.of(job, layouts.take(group.rows), prices.take(group.rows), group)
        for place, row in enumerate(group.rows.tolist()):
            found[row] = alike.prediction(place, ranks[row], every_fits=bool(fit[row]))
    return tuple(found[row] for row in range(len(layouts)))


@dataclass(frozen=True)
class _Alike:
    """Layouts with the same stage classes and the same pattern of collectives, priced together.

    Args:
        step: with a time for each class. classes: pipeline rank -> its class.
        memory: of each class, the members of the first layout, then those of the next.
    """

    job: Job
    layouts: Layouts
    prices: PriceRows
    group: StageGroup
    step: StepTime
    classes: Mapping[int, int]
    memory: tuple[StageMemory, ...]
    traffic: Traffic

    @staticmethod
    def of(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> _Alike:
        memory = []
        for stage in group.classes:
            members = np.repeat(np.arange(len(layouts)), stage.count)
            each = np.tile(np.array(stage.ranks, dtype=np.int64), len(layouts))
            memory.append(stage_memory(job, layouts.take(members), prices.take(members), stage, each))
        step, traffic = step_time(job, layouts, prices, group), traffic_of(job, layouts, prices, group)
        classes = {rank: index for index, stage in enumerate(group.classes) for rank in stage.ranks}
        return _Alike(job, layouts, prices, group, step, classes, tuple(memory), traffic)

    def prediction(self, place: int, rank: int | None, *, every_fits: bool) -> Prediction:
        """The prediction of one of the layouts.

        Args:
            place: of the layout. rank: its place in a ranking. every_fits: whether all of its ranks fit.
        """
        only = np.array([place])
        row, prices = self.layouts.take(only), self.prices.take(only)
        alone = next(stage_groups(row, self.job.model, every_rank=True))
        ranks = self._ranks(place, row, prices, alone)
        flops = [rank_flops(row, prices, stage, alone) for stage in alone.classes]
        executed = sum(total for total, _ in flops) / sum(total - again for total, again in flops)
        top = max(ranks, key=lambda item: (item.time.total_s - item.time.bubble_s, -item.pipeline_rank))
        peaks = [item.memory.peak_bytes for item in ranks]
        fullest = ranks[peaks.index(max(peaks))].memory
        memory = dataclasses.replace(fullest, fits=every_fits, by_rank=tuple(peaks))
        total_s = float(self.step.total[place])
        return assemble(self.job, row.row(0), rank, total_s, top, memory, ranks, executed)

    def _ranks(
        self, place: int, row: Layouts, prices: PriceRows, alone: StageGroup
    ) -> tuple[RankPrediction, ...]:
        """Every pipeline rank of a layout; ``row``, ``prices``, ``alone``: the layout by itself."""
        total_s, hops_s = float(self.step.total[place]), float(self.step.hops[place])
        known: dict[object, tuple[CommunicationRow, ...]] = {}
        result = []
        for stage in alone.classes:
            rank = stage.ranks[0]
            index = self.classes[rank]
            time = rank_time(row, prices, stage, alone, self.step.stages[index], hops_s, total_s, place)
            sent = communication_kind(self.job, row, alone, stage)
            if sent not in known:
                known[sent] = rank_communication(
                    self.job, row, prices, alone, stage, time, self.traffic, place
                )
            members = self.group.classes[index].ranks
            memory = memory_breakdown(
                self.job, self.memory[index], place * len(members) + members.index(rank)
            )
            result.append(
                RankPrediction(
                    pipeline_rank=rank,
                    virtual_stages=stage.virtual_stages,
                    layers=stage.layers(self.job.model),
                    flops=rank_flops(row, prices, stage, alone)[0],
                    time=time,
                    memory=memory,
                    communication=known[sent],
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
