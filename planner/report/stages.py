"""Uneven stages as tables: the pipelines before and after, and the best one rank by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction, RankPrediction
from planner.report.tables import new_table
from planner.report.text import GIB, layout_words, percent, runs, seconds

if TYPE_CHECKING:
    from rich.table import Table

    from planner.solvers.stages.result import StagedPlan

_LIST_KNOBS = ("layers_per_stage", "recompute", "recompute_layers", "recompute_modules")


def stages_table(plans: Sequence[StagedPlan]) -> Table:
    """One row per pipeline: what it is, its stages, and the step before and after."""
    headings = (
        "#",
        "was",
        "pipeline",
        "layers per stage",
        "recomputed per rank",
        "uniform",
        "uneven",
        "gain",
        "simulated",
        "found by",
    )
    table = new_table("Pipelines with uneven stages", headings, left=headings[2:5] + headings[9:])
    for place, plan in enumerate(plans, 1):
        knobs = plan.after.layout
        table.add_row(
            str(place),
            f"#{plan.rank_before}",
            layout_words({name: value for name, value in knobs.items() if name not in _LIST_KNOBS}),
            _layer_words(plan.after),
            _recompute_words(plan.after),
            seconds(plan.before.step_time_s) if plan.stages.before_fits else "too large",
            seconds(plan.step_s),
            "-" if plan.gain is None else percent(plan.gain),
            "-" if plan.simulated_gain is None else percent(plan.simulated_gain),
            _method_words(plan),
            style="bold" if place == 1 else None,
        )
    return table


def ranks_table(plan: StagedPlan) -> Table:
    """The best pipeline rank by rank: layers, recompute, work and memory before and after."""
    headings = ("rank", "layers", "recomputed", "busy", "waits", "memory GiB")
    table = new_table("The best pipeline by rank (uniform → uneven)", headings)
    before, after = ([*_recomputed(side)] for side in (plan.before, plan.after))
    limit = plan.after.memory.capacity_bytes - plan.after.memory.reserve_bytes
    for place, (old, new) in enumerate(zip(plan.before.ranks, plan.after.ranks, strict=True)):
        table.add_row(
            str(new.pipeline_rank),
            _change(str(old.layers), str(new.layers)),
            _change(str(before[place]), str(after[place])),
            _change(seconds(_busy(old)), seconds(_busy(new))),
            _change(seconds(old.time.bubble_s), seconds(new.time.bubble_s)),
            _change(*(f"{side.memory.device_used_bytes / GIB:.1f}" for side in (old, new)))
            + f" of {limit / GIB:.1f}",
        )
    return table


def stages_lines(plans: Sequence[StagedPlan]) -> list[str]:
    """What was gained, and why nothing was where nothing was."""
    best = plans[0]
    if not best.stages.before_fits:
        return ["no uniform layout fits: the pipelines are those that would fit with a little more memory"]
    fastest = min(plan.before.step_time_s for plan in plans)
    gain = 1.0 - best.step_s / fastest
    lines = [
        f"best uneven plan: {seconds(best.step_s)} per step, {percent(gain)} faster than the best uniform one"
        f" ({seconds(fastest)})"
        if gain > 0
        else f"no uneven stages beat the best uniform pipeline ({seconds(fastest)})"
    ]
    return [
        *lines,
        *(f"pipeline {place}: {plan.reason}" for place, plan in enumerate(plans, 1) if plan.reason),
    ]


def _busy(rank: RankPrediction) -> float:
    return rank.time.total_s - rank.time.bubble_s


def _change(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"


def _layer_words(plan: Prediction) -> str:
    stages = plan.layout.get("layers_per_stage")
    return runs(stages) if stages else f"even ({plan.ranks[0].layers} per rank)"


def _recompute_words(plan: Prediction) -> str:
    mode = plan.layout["recompute"]
    return "none" if mode == "none" else f"{mode} {runs(_recomputed(plan))}"


def _recomputed(plan: Prediction) -> list[int]:
    """Recomputed layers of each pipeline rank."""
    knobs: Mapping[str, Any] = plan.layout
    count = knobs.get("recompute_layers")
    if knobs["recompute"] == "none":
        return [0] * len(plan.ranks)
    wanted = count if isinstance(count, list) else [count] * len(plan.ranks)
    return [
        rank.layers if most is None else min(most, rank.layers)
        for most, rank in zip(wanted, plan.ranks, strict=True)
    ]


def _method_words(plan: StagedPlan) -> str:
    solution = plan.stages.solution
    if solution is None:
        return plan.stages.method
    if solution.gap is None:
        return f"{solution.back_end}: {solution.status}"
    limit = "" if solution.proved else "time limit, "
    return f"{solution.back_end}: {limit}gap {percent(solution.gap)}"
