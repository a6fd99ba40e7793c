"""A simulated step as coloured blocks: one row per pipeline rank, passes with their micro-batch numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from planner.report.pictures import DOTS_PER_INCH, check_picture, new_figure, save_figure
from planner.simulator.analysis.columns import compute_actor, step_end
from planner.simulator.analysis.passes_run import PassesRun, passes_run, unit_name
from planner.simulator.analysis.time_classes import exposed_intervals
from planner.simulator.program import NONE, Execution, Floats, Integers, Program, TaskKind, What
from planner.simulator.schedules.schedule import Kind, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """How one kind of block is drawn: colour and hatch differ, so that they are told apart in grey too."""

    label: str
    color: str
    hatch: str = ""
    text: str = "black"


LOOKS: Mapping[str, Look] = {
    "F": Look("F: forward", "#3a68ae", text="white"),
    "B": Look("B: backward", "#8cc26f"),
    "I": Look("I: input gradient", "#f2a65a", "////"),
    "W": Look("W: weight gradient", "#f8e7a1", "...."),
    "F&B": Look("F&B: both at once", "#6fb3c9", "\\\\\\\\"),
    "update": Look("optimizer update", "#7a4a9e", "xxxx", "white"),
    "exposed": Look("waits for transfers", "#d9455f", "||||"),
    "host": Look("host: kernel launches", "#9a9a9a", "oo"),
}

KEYS = {Kind.F: "F", Kind.B: "B", Kind.I: "I", Kind.W: "W", Kind.OVERLAP_F_B: "F&B"}

WIDTH_IN = 16.0
ROW_IN = 0.42
TALLEST_IN = 14.0
MOST_NUMBERS = 4000
DIGIT_IN = 0.062
"""Width of a digit at the smallest size that is still read."""
SHORTEST_DOTS = 4.0
"""Narrower blocks are drawn without edges, and the picture says how to see them."""
WINDOW_PASSES = 60
FADE = 0.4
"""Later chunks of a rank are drawn lighter, the last one by this much."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rectangles of one kind: row, from when to when, chunk of the rank, and what is written inside."""

    row: Integers
    start: Floats
    end: Floats
    chunk: Integers
    text: tuple[str, ...]


def timeline_blocks(
    program: Program, execution: Execution, schedule: Schedule, rows: Sequence[int]
) -> dict[str, Blocks]:
    """What is drawn, by key of ``LOOKS``; kinds that do not occur are left out.

    Args:
        rows: the actors that are shown, from top to bottom.
    """
    row_of = np.full(program.actors, NONE, dtype=np.int64)
    row_of[np.asarray(rows, dtype=np.int64)] = np.arange(len(rows))
    passes = passes_run(program, execution, schedule)
    chunk_of = _chunks(schedule)
    blocks = {
        key: _pass_blocks(
            passes, np.flatnonzero((passes.kind == kind) & (row_of[passes.actor] != NONE)), row_of, chunk_of
        )
        for kind, key in KEYS.items()
    }
    tasks, actor = program.tasks, compute_actor(program)
    shown = (actor != NONE) & (row_of[actor] != NONE) & (execution.end > execution.start)
    kinds = {
        "update": (tasks.kind == TaskKind.COMPUTE) & (tasks.what == What.OPTIMIZER),
        "host": (tasks.kind == TaskKind.WAIT) & (tasks.what == What.HOST),
    }
    for key, mask in kinds.items():
        mine = np.flatnonzero(shown & mask)
        blocks[key] = _plain(row_of[actor[mine]], execution.start[mine], execution.end[mine])
    waits = exposed_intervals(program, execution)
    mine = np.flatnonzero(row_of[waits.actor] != NONE)
    blocks["exposed"] = _plain(row_of[waits.actor[mine]], waits.start[mine], waits.end[mine])
    return {key: block for key, block in blocks.items() if len(block.row)}


def _chunks(schedule: Schedule) -> Integers:
    """(stages,), how many stages its rank holds before a stage."""
    result = np.zeros(schedule.stages, dtype=np.int64)
    for rank in range(schedule.ranks):
        mine = np.flatnonzero(schedule.rank_of == rank)
        result[mine] = np.arange(len(mine))
    return result


def _pass_blocks(passes: PassesRun, chosen: Integers, row_of: Integers, chunk_of: Integers) -> Blocks:
    return Blocks(
        row_of[passes.actor[chosen]],
        passes.start[chosen],
        passes.end[chosen],
        chunk_of[passes.stage[chosen]],
        tuple(_numbers(passes, index) for index in chosen.tolist()),
    )


def _numbers(passes: PassesRun, index: int) -> str:
    """The micro-batch; of a fused pass that of the forward and that of the backward half."""
    first, second = int(passes.micro_batch[index]), int(passes.micro_batch2[index])
    text = unit_name(first, passes.slices)
    return text if second == NONE else f"{text}|{unit_name(second, passes.slices)}"


def _plain(row: Integers, start: Floats, end: Floats) -> Blocks:
    return Blocks(row, start, end, np.zeros(len(row), dtype=np.int64), ("",) * len(row))


def _within(blocks: Blocks, begin: float, end: float) -> Blocks:
    """What of the blocks lies in a window, cut to it."""
    seen = np.flatnonzero((blocks.end > begin) & (blocks.start < end))
    return Blocks(
        blocks.row[seen],
        np.maximum(blocks.start[seen], begin),
        np.minimum(blocks.end[seen], end),
        blocks.chunk[seen],
        tuple(blocks.text[index] for index in seen.tolist()),
    )


def draw_timeline(
    path: str | Path,
    program: Program,
    execution: Execution,
    schedule: Schedule,
    rows: Sequence[int],
    labels: Sequence[str],
    title: str,
    window: tuple[float, float] | None = None,
) -> None:
    """Draw the step and write the picture, whole or not at all.

    Args:
        path: ends in .png, .svg or .pdf.
        rows: the actors that are shown; labels: what each row is called.
        window: seconds of the step from and to which is shown, None for all.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    begin, end = window or (0.0, step_end(program, execution))
    blocks = {
        key: cut
        for key, block in timeline_blocks(program, execution, schedule, rows).items()
        if len((cut := _within(block, begin, end)).row)
    }
    row_in = min(ROW_IN, TALLEST_IN / max(len(rows), 1))
    figure = new_figure(WIDTH_IN, 1.6 + row_in * max(len(rows), 2))
    axes = figure.subplots()
    per_second = 0.9 * WIDTH_IN / (end - begin) if end > begin else 1.0
    for key in LOOKS:
        if key in blocks:
            _draw_blocks(axes, blocks[key], LOOKS[key], per_second)
    _write_numbers(axes, blocks, per_second, row_in)
    axes.set_facecolor("#f4f4f4")
    axes.set_xlim(begin, end)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    step = max(1, len(rows) // 32)
    axes.set_yticks(range(0, len(rows), step), [labels[row] for row in range(0, len(rows), step)])
    axes.set_xlabel("time in the step (s)")
    axes.set_ylabel("pipeline rank")
    axes.set_title(title + _hint(blocks, begin, end, per_second))
    _legend(figure, blocks)
    save_figure(figure, path)


def _hint(blocks: Mapping[str, Blocks], begin: float, end: float, per_second: float) -> str:
    """A second line of the title where passes are too short to be told apart."""
    lengths = [blocks[key].end - blocks[key].start for key in KEYS.values() if key in blocks]
    typical = float(np.median(np.concatenate(lengths))) if lengths else end
    if typical * per_second * DOTS_PER_INCH > SHORTEST_DOTS:
        return ""
    part = begin + WINDOW_PASSES * typical
    return f"\npasses are too short to be told apart: --window {begin:.3g}-{part:.2g} shows a part"


def _draw_blocks(axes: Axes, blocks: Blocks, look: Look, per_second: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    dots = float(np.median(blocks.end - blocks.start)) * per_second * DOTS_PER_INCH
    chunks = int(blocks.chunk.max()) + 1
    for chunk in range(chunks):
        mine = np.flatnonzero(blocks.chunk == chunk)
        if not len(mine):
            continue
        low, high = blocks.row[mine] - 0.42, blocks.row[mine] + 0.42
        left, right = blocks.start[mine], blocks.end[mine]
        corners = np.stack([left, low, left, high, right, high, right, low, left, low], axis=1)
        codes = [Outline.MOVETO, *(Outline.LINETO,) * 3, Outline.CLOSEPOLY]
        # One patch for all: a hatch is laid once per patch, however many rectangles it has.
        axes.add_patch(
            PathPatch(
                Outline(corners.reshape(-1, 2), np.tile(codes, len(mine))),
                facecolor=_faded(look.color, FADE * chunk / max(chunks - 1, 1)),
                edgecolor="#222222",
                linewidth=0.5 if dots > SHORTEST_DOTS else 0.0,
                hatch=look.hatch if look.hatch and dots > 10.0 else None,
            )
        )


def _faded(color: str, amount: float) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (value + (1.0 - value) * amount for value in to_rgb(color))
    return red, green, blue


def _write_numbers(axes: Axes, blocks: Mapping[str, Blocks], per_second: float, row_in: float) -> None:
    """Micro-batch numbers where they fit; none at all in pictures of too many passes."""
    if row_in < 0.16 or sum(len(block.row) for block in blocks.values()) > MOST_NUMBERS:
        return
    for key, block in blocks.items():
        look = LOOKS[key]
        for i, text in enumerate(block.text):
            room = float(block.end[i] - block.start[i]) * per_second
            need = DIGIT_IN * (len(text) + 0.6)
            if not text or room < need:
                continue
            axes.text(
                float(block.start[i] + block.end[i]) / 2,
                float(block.row[i]),
                text,
                ha="center",
                va="center_baseline",
                fontsize=min(9.0, 5.2 * room / need),
                color=look.text if block.chunk[i] == 0 else "black",
                bbox={"facecolor": "white", "alpha": 0.6, "pad": 0.6, "linewidth": 0} if look.hatch else None,
            )


def _legend(figure: Figure, blocks: Mapping[str, Blocks]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=look.color,
            hatch=look.hatch or None,
            edgecolor="#222222",
            linewidth=0.5,
            label=look.label,
        )
        for key, look in LOOKS.items()
        if key in blocks
    ]
    handles.append(Patch(facecolor="#f4f4f4", edgecolor="#aaaaaa", linewidth=0.5, label="idle (bubble)"))
    lighter = any(block.chunk.max() > 0 for block in blocks.values())
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=9,
        fontsize="small",
        frameon=False,
        title="lighter: later chunks of the rank" if lighter else None,
        title_fontsize="small",
    )
