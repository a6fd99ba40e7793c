"""Time and memory of every content of a stage under the ways of one group, computed when first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.costs.evaluate import fits
from planner.costs.memory import stage_memory
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import StageTime, step_time
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray, Layouts
from planner.solvers.mixed.contents import Contents
from planner.solvers.mixed.ways import Ways

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class StageCosts:
    """A stage under one way and so many micro-batches in flight, shape (contents,).

    Args:
        seconds: of one micro-batch in the fastest recompute policy that fits; infinite where none does.
        held: what the stage does in a step beyond one micro-batch: the step lasts at least that long besides one micro-batch
            on every stage.
        policies: the policy chosen.
    """

    seconds: FloatArray
    held: FloatArray
    policies: IntArray


class StageTables:
    """Tables of one group; the caller owns it for the length of one search.

    Times depend on the way and the content; memory also on the micro-batches in flight, which fall along the pipeline.
    """

    def __init__(self, ways: Ways, contents: Contents) -> None:
        self._ways = ways
        self._contents = contents
        self._times: dict[int, tuple[FloatArray, FloatArray]] = {}
        self._fits: dict[tuple[int, int], NDArray[np.bool_]] = {}

    def costs(self, row: int, flight: int) -> StageCosts:
        """Of a way with so many micro-batches in flight; ``fill`` it first.

        Of two policies the one with the shorter pass has the shorter step too: what a longer pass hides more of its traffic
        it takes longer itself. So the fastest policy that fits is best whatever the other stages do.
        """
        seconds, held = self._times[row]
        fitting = np.where(self._fits[row, flight], seconds, np.inf)
        chosen = np.argmin(fitting, axis=1)
        places = np.arange(len(chosen))
        return StageCosts(fitting[places, chosen], held[places, chosen], chosen)

    def fill(self, asked: Iterable[tuple[int, int]]) -> None:
        """Computes what is not known yet of (row, micro-batches in flight)."""
        wanted = sorted(set(asked))
        self._fill_times(np.array(sorted({row for row, _ in wanted} - self._times.keys()), dtype=np.int64))
        self._fill_memory(wanted)

    def most_layers(self, name: str, count: int, flight: int) -> IntArray:
        """(ways,) layers of one kind, up to ``count``, that a stage of nothing else may own with so many micro-batches in flight.

        By bisection: more layers never need less memory.
        """
        layouts, prices, legal = self._under_all(np.arange(len(self._ways)))
        layouts = in_flight_as(layouts, np.full(len(layouts), flight))
        low, high = np.zeros(len(layouts), dtype=np.int64), np.where(legal, count, 0)
        while (low < high).any():
            middle = np.where(low < high, (low + high + 1) // 2, 0)
            for layers in np.unique(middle[middle > 0]).tolist():
                rows = np.flatnonzero(middle == layers)
                content = StageClass((1,), {name: layers}, {}, (1,), holds_first=False, holds_last=False)
                memory = stage_memory(self._ways.job, layouts.take(rows), prices.take(rows), content)
                fitting = fits(self._ways.job, memory.used, memory.host, memory.nvme)
                low[rows[fitting]] = layers
                high[rows[~fitting]] = layers - 1
        most: IntArray = low.reshape(-1, self._policies).max(axis=1)
        return most

    def _fill_times(self, rows: IntArray) -> None:
        if not len(rows):
            return
        layouts, prices, legal = self._under_all(rows)
        sums = np.empty((len(layouts), len(self._contents.stages)))
        caps = np.empty_like(sums)
        for place, content in enumerate(self._contents.stages):
            time = single_stage(self._ways.job, layouts, prices, content)
            sums[:, place] = time.paced[0] + time.paced[1]
            caps[:, place] = held_up(time) - sums[:, place]
        sums[~legal] = np.inf
        for row, own, cap in zip(rows.tolist(), self._by_row(sums), self._by_row(caps), strict=True):
            self._times[row] = (own, cap)

    def _fill_memory(self, wanted: Iterable[tuple[int, int]]) -> None:
        missing = [pair for pair in wanted if pair not in self._fits]
        if not missing:
            return
        pairs = np.array(missing, dtype=np.int64)
        layouts, prices, _ = self._under_all(pairs[:, 0])
        layouts = in_flight_as(layouts, np.repeat(pairs[:, 1], self._policies))
        job = self._ways.job
        fitting = np.empty((len(layouts), len(self._contents.stages)), dtype=np.bool_)
        for place, content in enumerate(self._contents.stages):
            memory = stage_memory(job, layouts, prices, content)
            fitting[:, place] = fits(job, memory.used, memory.host, memory.nvme)
        for (row, flight), fit in zip(pairs.tolist(), self._by_row(fitting), strict=True):
            self._fits[row, flight] = fit

    @property
    def _policies(self) -> int:
        return len(self._ways.layouts.recompute)

    def _under_all(self, rows: IntArray) -> tuple[Layouts, PriceRows, NDArray[np.bool_]]:
        """Every row under every policy, policies innermost; which of them are legal."""
        policies = np.arange(self._policies, dtype=np.int64)
        layouts = self._ways.layouts.take(np.repeat(rows, self._policies))
        columns = {**layouts.columns, "recompute": np.tile(policies, len(rows))}
        layouts = replace(layouts, columns=columns)
        return layouts, self._ways.prices.rows(layouts), self._ways.legal[rows].reshape(-1)

    def _by_row(self, table: NDArray[Kind]) -> list[NDArray[Kind]]:
        """(rows x policies, contents) as one (contents, policies) per row."""
        rows = len(table) // self._policies
        shaped = table.reshape(rows, self._policies, -1).transpose(0, 2, 1)
        return [np.ascontiguousarray(part) for part in shaped]


def single_stage(job: Job, layouts: Layouts, prices: PriceRows, content: StageClass) -> StageTime:
    """Times of a rank that owns a content."""
    alone = StageGroup(np.arange(len(layouts)), 1, 1, (content,), 0)
    return step_time(job, layouts, prices, alone).stages[0]


def held_up(time: StageTime) -> FloatArray:
    """Everything that a rank does in a step but the tied tables' sum, which crosses groups."""
    return time.busy - time.tied


def in_flight_as(layouts: Layouts, flight: IntArray) -> Layouts:
    """The rows as the second of so many stages and one: such a rank holds ``flight`` micro-batches under 1F1B."""
    return replace(layouts, columns={**layouts.columns, "pp": flight + 1})
