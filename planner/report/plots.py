"""Pictures of a search: throughput against memory, and where the step of the best plans goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.report.difference import time_parts
from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.ranking import memory_of
from planner.report.text import GIB, layout_words, seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES: Mapping[str, tuple[str, str]] = {
    "compute": ("#4477aa", ""),
    "optimizer": ("#66ccee", ".."),
    "exposed tp": ("#ee6677", "///"),
    "exposed cp": ("#aa3377", "xxx"),
    "exposed ep": ("#cc7711", "\\\\\\"),
    "exposed etp": ("#997700", "++"),
    "exposed pp": ("#228833", "---"),
    "exposed dp": ("#ccbb44", "|||"),
    "exposed edp": ("#999933", "**"),
    "exposed offload": ("#882255", "oo"),
    "host": ("#777777", "OO"),
    "bubble": ("#e8e8e8", ""),
}
"""Colour and hatch of each class of the step: told apart in grey too."""

BARS = 10
SMALLEST_SHARE = 0.002
"""Classes below this share of every shown step are left out of the legend."""


def draw_search(
    path: str | Path, job: Job, plans: Sequence[Prediction], pareto: Sequence[Mapping[str, Any]]
) -> None:
    """Draw one picture with two panels and write it, whole or not at all.

    Args:
        path: ends in .png, .svg or .pdf.
        job: for title, memory limit and throughput.
        plans: the ranking, best first.
        pareto: points with step_time_s and memory, as the search gives them.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    shown = plans[:BARS]
    figure = new_figure(14, 5.4 + 0.18 * len(shown))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_front(left, job, plans, pareto)
    _draw_steps(right, shown)
    training = job.training
    figure.suptitle(
        f"{job.model.name} on {job.devices} × {job.cluster.accelerator.name},"
        f" {training.global_batch} × {training.seq_len} tokens per step, {training.precision}, {job.framework.name}"
    )
    save_figure(figure, path)


def _draw_front(
    axes: Axes, job: Job, plans: Sequence[Prediction], pareto: Sequence[Mapping[str, Any]]
) -> None:
    best = plans[0]
    limit = (best.memory.capacity_bytes - best.memory.reserve_bytes) / GIB
    capacity = best.memory.capacity_bytes / GIB
    front = sorted((memory_of(point) / GIB, _throughput(job, point)) for point in pareto)
    front = _upper(front)
    if front:
        memory, speed = zip(*front, strict=True)
        axes.step(memory, speed, where="post", color="0.35", linewidth=1.2, zorder=2)
        axes.plot(memory, speed, "o", color="0.35", markersize=4, label="Pareto front", zorder=3)
    if len(plans) > 1:
        axes.plot(
            [plan.memory.device_used_bytes / GIB for plan in plans[1:]],
            [plan.tokens_per_s_per_device for plan in plans[1:]],
            "D",
            color="#4477aa",
            markerfacecolor="none",
            markersize=7,
            label=f"ranks 2 to {len(plans)}",
            zorder=4,
        )
    axes.plot(
        [best.memory.device_used_bytes / GIB],
        [best.tokens_per_s_per_device],
        "*",
        color="#cc3311",
        markeredgecolor="black",
        markersize=17,
        label="best plan",
        zorder=5,
    )
    axes.axvline(
        limit, color="black", linestyle="--", linewidth=1.2, label=f"memory that may be used, {limit:.1f} GiB"
    )
    axes.axvspan(limit, 1.06 * capacity, facecolor="0.88", edgecolor="0.7", hatch="//", label="does not fit")
    axes.set_xlim(0, 1.06 * capacity)
    axes.set_ylim(0, 1.12 * best.tokens_per_s_per_device)
    axes.set_xlabel("memory used on the fullest device (GiB)")
    axes.set_ylabel("throughput (tokens/s per device)")
    axes.set_title("Throughput against memory")
    axes.grid(alpha=0.3)
    _legend(axes, columns=3)


def _draw_steps(axes: Axes, plans: Sequence[Prediction]) -> None:
    parts = [time_parts(plan.time) for plan in plans]
    places = list(range(len(plans)))
    start = [0.0] * len(plans)
    for name, (color, hatch) in STYLES.items():
        widths = [part.get(name, 0.0) for part in parts]
        if all(width <= SMALLEST_SHARE * plan.step_time_s for width, plan in zip(widths, plans, strict=True)):
            continue
        axes.barh(
            places,
            widths,
            left=start,
            height=0.62,
            color=color,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.5,
            label=name,
        )
        start = [before + width for before, width in zip(start, widths, strict=True)]
    for place, plan in zip(places, plans, strict=True):
        beside_marker = "" if plan.simulated_step_time_s is None else "  "
        axes.text(
            plan.step_time_s,
            place,
            f"{beside_marker} {seconds(plan.step_time_s)}",
            va="center",
            fontsize="small",
        )
        axes.text(
            0, place - 0.34, " " + layout_words(plan.layout), va="bottom", ha="left", fontsize="x-small"
        )
    simulated = [plan.simulated_step_time_s for plan in plans]
    known = [(value, place) for value, place in zip(simulated, places, strict=True) if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "D", color="black", markersize=5, label="simulated step")
    axes.set_yticks(places, [str(place + 1) for place in places])
    axes.set_ylim(len(plans) - 0.5, -0.75)
    axes.set_xlim(0, 1.1 * max([plan.step_time_s for plan in plans] + [value for value, _ in known]))
    axes.set_xlabel("time of one step (s), busiest pipeline rank")
    axes.set_ylabel("place in the ranking")
    axes.set_title("Where the step goes")
    _legend(axes, columns=4)


def _legend(axes: Axes, columns: int) -> None:
    """Below the panel, where no point or bar can be."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=columns, fontsize="small", frameon=False
    )


def _throughput(job: Job, point: Mapping[str, Any]) -> float:
    return (
        job.training.tokens_per_step / float(point["step_time_s"]) / float(point.get("devices", job.devices))
    )


def _upper(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of the points, sorted by memory, that are faster than all that use less."""
    front: list[tuple[float, float]] = []
    for memory, speed in points:
        if not front or speed > front[-1][1]:
            front.append((memory, speed))
    return front
