"""Predictions of expressed rows; readings that differ in layout and batch only are priced together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.evaluate import memory_totals
from planner.costs.instants import OPTIMIZER_STEP
from planner.costs.memory import StageMemory, stage_memory
from planner.costs.pipeline import CLOSED_FORMS
from planner.costs.prices import PriceRows, price_model
from planner.costs.sizes import FloatArray
from planner.costs.stages import stage_groups
from planner.costs.states import moment_bytes, optimizer_bytes
from planner.costs.uncertainty import interval_factor
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.legality import RULES
from planner.layouts.rules.facts import gather_facts
from planner.layouts.rules.framework import FRAMEWORK_RULES
from planner.validation.runs.express import Expressed, Variant
from planner.validation.runs.readings import RankMemory, Reading
from planner.validation.runs.simulated import simulated_reading
from planner.validation.runs.uncertainty import shares_of, step_and_parts

_OF_FRAMEWORKS = {rule.name for rule in FRAMEWORK_RULES} | {"unfolded_experts"}
_OF_BATCHES = {"batch"}
PHYSICAL_RULES = tuple(rule for rule in RULES if rule.name not in _OF_FRAMEWORKS | _OF_BATCHES)
"""What no framework can run. What a profile does not offer was published all the same; batches are checked by row."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Answered:
    """A row with its readings, or the rule that all of them break."""

    expressed: Expressed
    readings: tuple[Reading, ...]
    refused: str | None


def answer(rows: Sequence[Expressed], progress: Progress = lambda done, message: None) -> list[Answered]:
    """Predictions of the rows, in their order."""
    batches: dict[object, list[tuple[int, Variant]]] = {}
    for index, row in enumerate(rows):
        for variant in row.variants:
            batches.setdefault(variant.key, []).append((index, variant))
    readings: list[list[Reading]] = [[] for _ in rows]
    problems: list[str | None] = [None] * len(rows)
    for done, batch in enumerate(batches.values()):
        progress(done / len(batches), "predicting")
        wanted = [_measured_memory(rows[index]) for index, _ in batch]
        for (index, _), result in zip(batch, _batch([v for _, v in batch], wanted), strict=True):
            if isinstance(result, Reading):
                readings[index].append(result)
            else:
                problems[index] = problems[index] or result
    return [
        Answered(row, tuple(found), None if found else problem)
        for row, found, problem in zip(rows, readings, problems, strict=True)
    ]


def _measured_memory(row: Expressed) -> bool:
    return row.row.memory_kind is not None or bool(row.row.measured.memory_mib_by_rank)


def _batch(variants: Sequence[Variant], wanted: Sequence[bool]) -> list[Reading | str]:
    """Readings of variants that share their job but for the batch; a text for an illegal one."""
    job = variants[0].job
    layouts = from_layouts([variant.layout for variant in variants])
    broken = _broken(job, layouts)
    results: list[Reading | str] = [text or "" for text in broken]
    priced: list[int] = []
    for place, text in enumerate(broken):
        if text is None and variants[place].layout.schedule not in CLOSED_FORMS:
            results[place] = simulated_reading(variants[place])
        elif text is None:
            priced.append(place)
    if priced:
        chosen = layouts.take(np.array(priced))
        readings = _priced(job, chosen, [variants[i] for i in priced], [wanted[i] for i in priced])
        for place, reading in zip(priced, readings, strict=True):
            results[place] = reading
    return results


def _broken(job: Job, layouts: Layouts) -> list[str | None]:
    """The first physical rule that each layout breaks, None when it keeps all of them."""
    facts = gather_facts(job)
    result: list[str | None] = [None] * len(layouts)
    for rule in PHYSICAL_RULES:
        for place in np.flatnonzero(~rule.holds(layouts, facts)):
            result[place] = result[place] or f"illegal layout: {rule.requirement(facts)}"
    return result


def _priced(
    job: Job, layouts: Layouts, variants: Sequence[Variant], wanted: Sequence[bool]
) -> Iterator[Reading]:
    prices = price_model(job, layouts)
    rows = prices.rows(layouts)
    totals = memory_totals(job, layouts, prices)
    seconds, parts = step_and_parts(job, layouts, rows)
    cp = layouts.columns["ring"] * layouts.columns["ulysses"]
    factor = interval_factor(job, shares_of(parts), cp)
    memory = _rank_memory(job, layouts, rows, np.asarray(wanted, dtype=np.bool_))
    for place, variant in enumerate(variants):
        total = float(seconds[place])
        yield Reading(
            variant,
            total,
            (total / float(factor[place]), total * float(factor[place])),
            {name: float(values[place]) for name, values in parts.items()},
            float(totals.device_used_bytes[place]),
            bool(totals.fits[place]),
            memory[place],
        )


def _rank_memory(
    job: Job, layouts: Layouts, rows: PriceRows, wanted: NDArray[np.bool_]
) -> list[tuple[RankMemory, ...]]:
    result: list[tuple[RankMemory, ...]] = [()] * len(layouts)
    chosen = np.flatnonzero(wanted)
    if not len(chosen):
        return result
    mine, local = layouts.take(chosen), rows.take(chosen)
    moments = moment_bytes(job.training) / optimizer_bytes(job)
    rounding = 1.0 + job.framework.buffers.reserved_share
    for group in stage_groups(mine, job.model, every_rank=True):
        part, prices = mine.take(group.rows), local.take(group.rows)
        ranks = [stage_memory(job, part, prices, stage) for stage in group.classes]
        for place, row in enumerate(group.rows):
            result[chosen[row]] = tuple(_of_rank(memory, place, moments, rounding) for memory in ranks)
    return result


def _of_rank(memory: StageMemory, place: int, moments: float, rounding: float) -> RankMemory:
    """One device.

    Args:
        moments: share of the optimizer's bytes that does not exist before the first update.
        rounding: bytes that the allocator holds per byte in use.
    """
    optimizer = _at(memory.states.optimizer, place)
    after = _at(memory.between_steps, place)
    instants = [sum(_at(values, place) for values in parts.values()) for parts in memory.alive]
    step = instants.pop(OPTIMIZER_STEP)
    passes = max(instants)
    return RankMemory(
        peak_bytes=_at(memory.peak, place),
        reserved_bytes=_at(memory.reserved, place),
        device_used_bytes=_at(memory.used, place),
        after_step_bytes=after,
        first_step_peak_bytes=max(passes - moments * optimizer, step, after),
        passes_bytes=passes,
        passes_reserved_bytes=passes * rounding,
    )


def _at(values: FloatArray, place: int) -> float:
    return float(values[place])
