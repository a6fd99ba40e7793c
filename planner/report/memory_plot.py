"""Memory of some devices over a simulated step, stacked by class, with the peak and what the device holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from planner.jobs.prediction import MEMORY_CLASSES, MemoryBreakdown
from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.plan import MEMORY_WORDS
from planner.report.text import GIB
from planner.simulator.analysis.memory import MemoryTimeline

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LOOKS: Mapping[str, tuple[str, str]] = {
    "parameters": ("#31507d", ""),
    "gradients": ("#5f86b8", "..."),
    "optimizer": ("#9db9da", ""),
    "gathered_parameters": ("#c9d8ea", "xx"),
    "communication_buffers": ("#b7b7b7", "---"),
    "activations": ("#8cc26f", ""),
    "transient": ("#f2a65a", "////"),
    "logits": ("#d9455f", "\\\\\\\\"),
    "optimizer_transient": ("#7a4a9e", "xxxx"),
}
"""Colour and hatch of each class, from the bottom of the stack up: what stays below, what passes change above."""

MOST_PANELS = 4


@dataclass(frozen=True)
class Limits:
    """What bounds live memory: the device, and what is left of it for live bytes."""

    capacity_bytes: float
    live_bytes: float

    @staticmethod
    def of(memory: MemoryBreakdown) -> Limits:
        """Live bytes leave room for allocator, context and what the user keeps free."""
        allocator = memory.reserved_bytes / memory.peak_bytes if memory.peak_bytes else 1.0
        context = memory.device_used_bytes - memory.reserved_bytes
        room = memory.capacity_bytes - context - memory.reserve_bytes
        return Limits(memory.capacity_bytes, max(room, 0.0) / allocator)


def chosen_ranks(peaks: Sequence[float]) -> tuple[int, ...]:
    """Pipeline ranks worth a panel: the first, the last, the fullest, and one in the middle."""
    last = len(peaks) - 1
    fullest = max(range(len(peaks)), key=lambda rank: peaks[rank])
    wanted = dict.fromkeys((fullest, 0, last, last // 2))
    return tuple(sorted(list(wanted)[:MOST_PANELS]))


def draw_memory(
    path: str | Path, timelines: Sequence[MemoryTimeline], labels: Sequence[str], limits: Limits, title: str
) -> None:
    """Draw one panel per timeline and write the picture, whole or not at all.

    Args:
        path: ends in .png, .svg or .pdf.
        labels: title of each panel.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    figure = new_figure(14, 1.5 + 2.7 * len(timelines))
    panels = figure.subplots(len(timelines), 1, sharex=True, squeeze=False)[:, 0]
    end = max(float(line.times[-1]) for line in timelines)
    top = 1.22 * max([limits.capacity_bytes, *(line.peak_bytes for line in timelines)]) / GIB
    for axes, line, label in zip(panels, timelines, labels, strict=True):
        _draw_panel(axes, line, end)
        _draw_limits(axes, limits)
        _draw_peak(axes, line, end)
        axes.set_title(label, fontsize="medium", loc="left")
        axes.set_xlim(0, end)
        axes.set_ylim(0, top)
        axes.set_ylabel("live memory (GiB)")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("time in the step (s)")
    figure.suptitle(title)
    handles: dict[str, Artist] = {}
    for axes in panels:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [MEMORY_WORDS[name] for name in LOOKS]
    names = sorted(handles, key=lambda name: order.index(name) if name in order else len(order))
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=4,
        fontsize="small",
        frameon=False,
    )
    save_figure(figure, path)


def _draw_panel(axes: Axes, line: MemoryTimeline, end: float) -> None:
    times = np.append(line.times, end)
    base = np.zeros(len(times))
    for name, (color, hatch) in LOOKS.items():
        rows = line.by_class[MEMORY_CLASSES.index(name)] / GIB
        if rows.max() <= 0.0:
            continue
        height = base + np.append(rows, rows[-1])
        axes.fill_between(
            times,
            base,
            height,
            step="post",
            facecolor=color,
            hatch=hatch or None,
            edgecolor="black" if hatch else color,
            linewidth=0.2,
            label=MEMORY_WORDS[name],
        )
        base = height


def _draw_limits(axes: Axes, limits: Limits) -> None:
    capacity, live = limits.capacity_bytes / GIB, limits.live_bytes / GIB
    axes.axhline(capacity, color="black", linewidth=1.4, label=f"device memory, {capacity:.1f} GiB")
    axes.axhline(
        live,
        color="black",
        linewidth=1.2,
        linestyle="--",
        label=f"left for live bytes, {live:.1f} GiB",
    )


def _draw_peak(axes: Axes, line: MemoryTimeline, end: float) -> None:
    peak = line.peak_bytes / GIB
    early = line.peak_time_s < 0.5 * end
    axes.plot(
        [line.peak_time_s], [peak], "v", color="#cc3311", markeredgecolor="black", markersize=8, zorder=6
    )
    axes.annotate(
        f"peak {peak:.2f} GiB at {line.peak_time_s:.3g} s: {line.peak_at}",
        (line.peak_time_s, peak),
        xytext=(10 if early else -10, 9),
        textcoords="offset points",
        ha="left" if early else "right",
        fontsize="small",
        bbox={"facecolor": "white", "alpha": 0.85, "pad": 1.5, "linewidth": 0},
        zorder=7,
    )
