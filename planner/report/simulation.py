"""A simulated step in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.jobs.prediction import EXPOSED_AXES, Prediction
from planner.report.difference import signed_seconds, time_difference, time_parts
from planner.report.plan import AXIS_WORDS, headline, memory_table
from planner.report.tables import NARROW, new_table
from planner.report.text import GIB, percent, seconds, share
from planner.simulator.analysis.causes import Cause
from planner.simulator.analysis.summary import Analysis
from planner.simulator.simulation import Simulation
from planner.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WORDS = ("", "class", "axis", "peak during", "resource")
"""Headings of columns that hold words."""

LEFT_OUT = ("device", "optimizer", "host", "idle inside")
"""Columns that narrow terminals do without."""

MOST_RANKS = 16
"""Tables of more pipeline ranks show the first and last ones."""


def print_simulation(
    console: Console,
    simulation: Simulation,
    analysis: Analysis,
    simulated: Prediction,
    estimate: Prediction | None,
    causes: Sequence[Cause],
) -> None:
    """Everything about one simulated step.

    Args:
        estimate: the closed form's, None for schedules without one.
        causes: of the difference between both, empty when they were not looked for.
    """
    from rich.columns import Columns

    console.print(headline(simulated))
    console.print("\n".join(difference_lines(simulated, estimate, causes)))
    console.print(bubble_line(analysis))
    console.print()
    console.print(Columns([step_table(simulated, estimate), memory_table(simulated)], padding=(0, 3)))
    console.print(axes_table(simulation, analysis))
    console.print(ranks_table(simulation, analysis, console.width))
    console.print("\n".join(link_lines(analysis)))
    console.print()
    console.print("\n".join(path_lines(analysis)))
    if analysis.questions:
        console.print()
        console.print(what_if_table(analysis))
    console.print(size_line(simulation), style="dim")


def difference_lines(
    simulated: Prediction, estimate: Prediction | None, causes: Sequence[Cause]
) -> list[str]:
    """How the simulation differs from the closed form, and why."""
    if estimate is None:
        return ["this schedule has no closed form to compare with"]
    gap = simulated.step_time_s - estimate.step_time_s
    # What is only rounding is no cause.
    causes = [cause for cause in causes if abs(cause.seconds) > 1e-9 * simulated.step_time_s]
    lines = [
        f"simulated {seconds(simulated.step_time_s)}, estimated {seconds(estimate.step_time_s)}"
        f" ({100 * gap / estimate.step_time_s:+.1f} %)" + (", because:" if causes else "")
    ]
    return lines + [f"  {signed_seconds(cause.seconds)} {cause.name}" for cause in causes]


def bubble_line(analysis: Analysis) -> str:
    """Both bubbles: of the makespan, and between a rank's first and last pass."""
    classes = analysis.classes
    worst = max(analysis.shown, key=lambda actor: classes.rank_bubble[actor])
    idle = float(classes.rank_bubble[worst])
    return (
        f"bubble: {seconds(classes.global_bubble_s)} of the step ({share(classes.global_bubble_s, classes.step_s)})"
        f" even on the busiest pipeline rank; at most {seconds(idle)} ({share(idle, classes.step_s)})"
        f" between a rank's first and last task (pipeline rank {analysis.shown.index(worst)})"
    )


def step_table(simulated: Prediction, estimate: Prediction | None) -> Table:
    """Where the busiest rank's step goes, simulated and estimated."""
    headings = ("class", "simulated", "share") + (("estimated", "difference") if estimate else ())
    table = new_table("Step of the busiest pipeline rank", headings, left=WORDS)
    parts = time_parts(simulated.time)
    known = time_parts(estimate.time) if estimate else {}
    changes = time_difference(estimate, simulated) if estimate else {}
    for name, value in parts.items():
        if value or known.get(name):
            row = [name, seconds(value), share(value, simulated.step_time_s)]
            if estimate:
                row += [seconds(known[name]), _change(changes[name], simulated)]
            table.add_row(*row)
    table.add_section()
    total = ["step", seconds(simulated.step_time_s), ""]
    if estimate:
        total += [
            seconds(estimate.step_time_s),
            signed_seconds(simulated.step_time_s - estimate.step_time_s),
        ]
    table.add_row(*total)
    return table


def _change(value_s: float, simulated: Prediction) -> str:
    """A difference with its sign; what is only rounding shows as none."""
    return signed_seconds(value_s if abs(value_s) > 1e-9 * simulated.step_time_s else 0.0)


def axes_table(simulation: Simulation, analysis: Analysis) -> Table:
    """What each axis moved, how long, and how long computation waited for it (the device that waits longest)."""
    table = new_table(
        "Transfers by axis", ("axis", "all devices send", "in flight", "exposed", "share"), left=WORDS
    )
    for use in analysis.axes:
        exposed = float(analysis.classes.exposed[:, EXPOSED_AXES.index(use.axis)].max())
        table.add_row(
            AXIS_WORDS[use.axis],
            format_bytes(float((use.sent_bytes * simulation.actors.weight).sum())),
            seconds(float(use.seconds.max())),
            seconds(exposed),
            share(exposed, analysis.classes.step_s),
        )
    return table


def ranks_table(simulation: Simulation, analysis: Analysis, width: int = 120) -> Table:
    """One row per pipeline rank (its busiest device): time by class, bubble, memory's peak.

    Args:
        width: columns of the terminal.
    """
    ranks = range(len(analysis.shown))
    half = MOST_RANKS // 2
    shown = list(ranks) if len(ranks) <= MOST_RANKS else [*ranks[:half], *ranks[-half:]]
    rows = [_rank_cells(simulation, analysis, rank) for rank in shown]
    headings = [name for name in rows[0] if width >= NARROW or name not in LEFT_OUT]
    table = new_table("Pipeline ranks (the busiest device of each)", headings, left=WORDS)
    for place, (rank, row) in enumerate(zip(shown, rows, strict=True)):
        if place and rank != shown[place - 1] + 1:
            table.add_row("…")
        fullest = rank == analysis.fullest and len(ranks) > 1
        table.add_row(*(row[name] for name in headings), style="bold" if fullest else None)
    return table


def _rank_cells(simulation: Simulation, analysis: Analysis, rank: int) -> dict[str, str]:
    actor, memory, classes = analysis.shown[rank], analysis.memory[rank], analysis.classes
    return {
        "rank": str(rank),
        "device": str(simulation.actors.device[actor]),
        "compute": seconds(float(classes.compute[actor])),
        "optimizer": seconds(float(classes.optimizer[actor])),
        "exposed": seconds(float(classes.exposed[actor].sum())),
        "host": seconds(float(classes.host[actor])),
        "bubble": seconds(float(classes.bubble[actor])),
        "idle inside": seconds(float(classes.rank_bubble[actor])),
        "peak GiB": f"{memory.peak_bytes / GIB:,.2f}",
        "peak during": memory.peak_at,
    }


def link_lines(analysis: Analysis) -> list[str]:
    """Mean use of every level, and its busiest link."""
    if not analysis.links:
        return ["links: none was loaded (transfers ran without sharing)"]
    parts = [
        f"{name} {percent(mean)} on average, at most {percent(use.utilisation)} ({use.name.split(', ', 1)[1]})"
        for (name, mean), use in zip(analysis.levels.items(), analysis.level_links, strict=True)
    ]
    return ["links busy: " + "; ".join(parts)]


def path_lines(analysis: Analysis) -> list[str]:
    """The critical path in words, the largest causes first."""
    path = analysis.path
    lines = ["critical path, what the end of the step waits for:"]
    lines += [f"  {item.words} ({seconds(item.seconds)})" for item in path.top()]
    if path.stretched_s > 0.0005 * analysis.classes.step_s:
        lines.append(
            f"  of it {seconds(path.stretched_s)} because links are shared and traffic slows computation"
        )
    return lines


def what_if_table(analysis: Analysis) -> Table:
    """Which resource, a tenth faster, shortens the step most."""
    table = new_table(
        "What if one resource were 10 % faster", ("resource", "step", "saves", "share"), left=WORDS
    )
    for item in analysis.questions:
        table.add_row(
            item.resource,
            seconds(item.step_time_s),
            signed_seconds(-item.saved_s),
            f"{100 * item.share:.2f} %",
        )
    return table


def size_line(simulation: Simulation) -> str:
    """What was simulated, in one line."""
    actors, devices = len(simulation.actors), int(simulation.actors.weight.sum())
    merged = f"{devices:,} devices" if actors == devices else f"{actors:,} kinds of devices for {devices:,}"
    network = "links shared" if simulation.options.sharing else "links not shared"
    return f"simulated {len(simulation.program.tasks):,} tasks of {merged}, {network}"
