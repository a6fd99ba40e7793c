"""What node failures make of a job: lines, tables and the picture of goodput against the checkpoint interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.tables import new_table
from planner.report.text import percent, seconds
from planner.simulator.failures.analytic import expected_goodput
from planner.simulator.failures.result import FailureStudy
from planner.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Console
    from rich.table import Table

SHARE_WORDS = {
    "useful": "work that stays done",
    "lost_work": "work done again",
    "checkpoint": "stopped for checkpoints",
    "detection": "hung until the failure is detected",
    "restart": "restarting",
    "waiting": "waiting for a repaired node",
}

CURVE_POINTS = 200


def headline(study: FailureStudy) -> str:
    """The study in a few lines."""
    runs, options, model = study.runs, study.options, study.model
    failures = runs.spread("failures")
    days = f"{options.horizon_s / 86400:g} days"
    mfu = "" if study.effective_mfu is None else f", effective MFU {percent(study.effective_mfu)}"
    lines = [
        f"goodput {percent(study.goodput)}: {seconds(study.expected_step_time_s)} of wall time per step of"
        f" {seconds(study.step_time_s)}{mfu}",
        f"simulated {100 * runs.goodput:.2f} ± {100 * runs.standard_error:.2f} % over {options.runs} runs of {days};"
        f" exact with unlimited spares {100 * study.expected:.2f} %",
        f"one of {model.nodes:,} nodes fails every {format_seconds(model.job_mtbf_s)}: {failures['mean']:,.1f} failures in"
        f" {days} ({failures['5']:,.0f} to {failures['95']:,.0f} in nine runs of ten),"
        f" {study.device_hours_lost:,.0f} device-hours lost",
        f"a checkpoint every {format_seconds(study.interval_s)} ({_steps(study)}) stops the job for"
        f" {format_seconds(model.checkpoint_s)}{_written(study)}",
        f"best interval {format_seconds(study.best_interval_s)}, by Daly {format_seconds(study.daly_s)},"
        f" by Young {format_seconds(study.young_s)}, best of the simulated {format_seconds(study.simulated_best_s)}",
    ]
    return "\n".join(lines)


def shares_table(study: FailureStudy) -> Table:
    """Where the simulated wall time goes."""
    words = ("",)
    table = new_table("Wall time by class", ("", "share"), left=words)
    for name, value in study.runs.shares.items():
        if value or name == "useful":
            table.add_row(SHARE_WORDS[name], f"{100 * value:.2f} %")
    return table


def intervals_table(study: FailureStudy) -> Table:
    """Goodput by checkpoint interval; the chosen one is marked."""
    table = new_table(
        "Goodput by checkpoint interval", ("checkpoint every", "exact", "simulated", "runs' 5 to 95 %", "")
    )
    for row in study.table:
        table.add_row(
            format_seconds(row.interval_s),
            f"{100 * row.expected:.2f} %",
            f"{100 * row.simulated:.2f} ± {100 * row.standard_error:.2f} %",
            f"{100 * row.low:.1f} to {100 * row.high:.1f} %",
            "← this plan" if row.interval_s == study.interval_s else "",
        )
    return table


def print_failures(console: Console, study: FailureStudy) -> None:
    """Everything about a failure study."""
    from rich.columns import Columns

    console.print(headline(study))
    console.print()
    console.print(Columns([shares_table(study), intervals_table(study)], padding=(0, 3)))
    for line in study.assumptions:
        console.print(f"assumption: {line}", style="dim")


def draw_failures(path: str | Path, study: FailureStudy, title: str | None = None) -> None:
    """Draw goodput against the checkpoint interval: exact curve, simulated points, best, Young and Daly.

    Args:
        path: ends in .png, .svg or .pdf.
        title: for example model and devices.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    figure = new_figure(9, 5.6)
    axes = figure.subplots()
    unit, scale = _time_unit(study.best_interval_s)
    _draw_simulated(axes, study, scale)
    _draw_exact(axes, study, scale)
    _draw_choices(axes, study, scale)
    _log_axis(axes)
    axes.set_xlabel(f"work between two checkpoints ({unit})")
    axes.set_ylabel("goodput (% of the wall time)")
    model = study.model
    axes.set_title(
        f"{title or f'{model.devices:,} devices'}: a failure every {format_seconds(model.job_mtbf_s)},"
        f" checkpoint {format_seconds(model.checkpoint_s)},"
        f" recovery {format_seconds(model.detect_s + model.restart_s)}",
        fontsize="medium",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize="small", frameon=False)
    save_figure(figure, path)


def _draw_simulated(axes: Axes, study: FailureStudy, scale: float) -> None:
    rows = study.table
    x = [row.interval_s / scale for row in rows]
    axes.fill_between(
        x,
        [100 * row.low for row in rows],
        [100 * row.high for row in rows],
        color="0.85",
        label="nine runs of ten",
        zorder=1,
    )
    axes.errorbar(
        x,
        [100 * row.simulated for row in rows],
        yerr=[200 * row.standard_error for row in rows],
        fmt="o",
        color="#4477aa",
        markersize=5,
        capsize=3,
        label="simulated, ± 2 standard errors",
        zorder=6,
    )


def _draw_exact(axes: Axes, study: FailureStudy, scale: float) -> None:
    first, last = study.table[0].interval_s, study.table[-1].interval_s
    points = [first * (last / first) ** (i / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)]
    axes.plot(
        [point / scale for point in points],
        [100 * expected_goodput(study.model, point) for point in points],
        color="black",
        linewidth=1.2,
        label="exact, unlimited spares",
        zorder=2,
    )


def _draw_choices(axes: Axes, study: FailureStudy, scale: float) -> None:
    lines = (("Young 1974", study.young_s, "--", "#228833"), ("Daly 2006", study.daly_s, ":", "#aa3377"))
    for name, value, style, color in lines:
        if value > 0.0:
            label = f"{name}: {format_seconds(value)}"
            axes.axvline(value / scale, color=color, linestyle=style, linewidth=1.6, label=label, zorder=2)
    best = study.best_interval_s
    axes.plot(
        [best / scale],
        [100 * expected_goodput(study.model, best)],
        "*",
        color="#cc3311",
        markeredgecolor="black",
        markersize=16,
        label=f"best: {format_seconds(best)}",
        zorder=5,
    )
    if study.interval_s != best:
        axes.plot(
            [study.interval_s / scale],
            [100 * study.goodput],
            "D",
            color="#ccbb44",
            markeredgecolor="black",
            markersize=9,
            label=f"this plan: {format_seconds(study.interval_s)}",
            zorder=4,
        )


def _log_axis(axes: Axes) -> None:
    """Logarithmic, with ticks at 1, 2 and 5 in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _time_unit(typical_s: float) -> tuple[str, float]:
    for unit, scale in (("h", 3600.0), ("min", 60.0)):
        if typical_s >= 2.0 * scale:
            return unit, scale
    return "s", 1.0


def _steps(study: FailureStudy) -> str:
    steps = study.interval_s / study.step_time_s
    return f"{steps:,.0f} steps" if steps >= 1.5 else "one step"


def _written(study: FailureStudy) -> str:
    cost = study.checkpoint
    if cost.node_bandwidth is None:
        return ""
    return f" ({format_bytes(cost.state_bytes)} at {format_rate(cost.node_bandwidth)} per node)"
