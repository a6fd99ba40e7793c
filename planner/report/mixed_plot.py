"""Picture of a search over groups: ways to use them, and time and memory of every stage of the best plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.report.mixed import way_words
from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.plots import STYLES
from planner.report.text import GIB, gib, seconds
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.plan import MixedPlan, StagePlan
from planner.solvers.mixed.result import MixedResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {
    "compute": STYLES["compute"],
    "optimizer": STYLES["optimizer"],
    "exposed traffic": STYLES["exposed tp"],
    "host": STYLES["host"],
    "bubble": STYLES["bubble"],
}
"""Colour and hatch of each part of a stage's step."""

MOST_STAGES = 32
"""Stages that a picture shows; of more the first ones."""


def draw_mixed(path: str | Path, mixed: MixedJob, result: MixedResult) -> None:
    """Draw one picture with three panels and write it, whole or not at all.

    Args:
        path: ends in .png, .svg or .pdf.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    best = result.plans[0]
    stages = [(segment.group, stage) for segment in best.segments for stage in segment.stages][:MOST_STAGES]
    figure = new_figure(15, 3.6 + 0.22 * max(len(stages), len(result.plans) + 3))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.0, 1.1, 0.9))
    _draw_ways(left, result)
    _draw_time(middle, stages)
    _draw_memory(right, stages)
    job = mixed.jobs[0]
    figure.suptitle(
        f"{job.model.name} on {' + '.join(f'{group.devices} × {group.accelerator.name}' for group in mixed.groups)},"
        f" {job.training.global_batch} × {job.training.seq_len} tokens per step: {way_words(best)}",
        fontsize=10,
    )
    save_figure(figure, path)


def _draw_ways(axes: Axes, result: MixedResult) -> None:
    """Bars of seconds per step, the chosen plan dark, what ignores groups hatched."""
    named = [(_short(plan), plan.step_s, index == 0) for index, plan in enumerate(result.plans)]
    others = [
        (item.what.replace(", ", ",\n"), item.step_s)
        for item in result.comparisons
        if item.step_s is not None and not item.same_space
    ]
    labels = [name for name, _, _ in named] + [name for name, _ in others]
    places = list(range(len(labels)))[::-1]
    for place, (_, step_s, chosen) in zip(places, named, strict=False):
        axes.barh(place, step_s, color="#4477aa" if chosen else "#a9c4dd", edgecolor="black", linewidth=0.5)
        axes.text(step_s, place, f" {seconds(step_s)}", va="center", fontsize=8)
    for place, (_, step_s) in zip(places[len(named) :], others, strict=True):
        axes.barh(place, step_s, color="white", edgecolor="#777777", hatch="///", linewidth=0.5)
        axes.text(step_s, place, f" {seconds(step_s)}", va="center", fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.margins(x=0.18)
    axes.set_xlabel("seconds per step")
    axes.set_title("Ways to use the groups", fontsize=10)


def _short(plan: MixedPlan) -> str:
    words = {"pipeline": "pipeline ", "replicas": "replicas ", "alone": "only "}
    return words[plan.kind] + (" → " if plan.kind == "pipeline" else " + ").join(plan.groups)


def _draw_time(axes: Axes, stages: list[tuple[str, StagePlan]]) -> None:
    places = list(range(len(stages)))[::-1]
    left = [0.0] * len(stages)
    for name, (colour, hatch) in PARTS.items():
        widths = [_part(stage, name) for _, stage in stages]
        axes.barh(
            places, widths, left=left, color=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=name
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(
        places, [f"{group} {stage.stage}: {stage.layers} layers" for group, stage in stages], fontsize=8
    )
    axes.set_xlabel("seconds per step")
    axes.set_title("Time of each stage", fontsize=10)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5, frameon=False)


def _part(stage: StagePlan, name: str) -> float:
    time = stage.time
    return {
        "compute": time.compute_s,
        "optimizer": time.optimizer_s,
        "exposed traffic": sum(time.exposed.values()),
        "host": time.host_s,
        "bubble": time.bubble_s,
    }[name]


def _draw_memory(axes: Axes, stages: list[tuple[str, StagePlan]]) -> None:
    """Bars of used memory with a mark at the capacity of each device."""
    for place, (_, stage) in zip(range(len(stages))[::-1], stages, strict=True):
        used, capacity = (
            value / GIB for value in (stage.memory.device_used_bytes, stage.memory.capacity_bytes)
        )
        axes.barh(place, capacity, color="#f2f2f2", edgecolor="#aaaaaa", linewidth=0.5)
        axes.barh(place, used, color="#66ccee", edgecolor="black", linewidth=0.4)
        axes.plot([capacity, capacity], [place - 0.4, place + 0.4], color="#aa3377", linewidth=2.0)
        axes.text(used, place, f"{gib(stage.memory.device_used_bytes)} ", va="center", ha="right", fontsize=7)
    axes.set_yticks([])
    axes.set_xlabel("GiB of one device (bar: used, line: capacity)")
    axes.set_title("Memory of each stage", fontsize=10)
