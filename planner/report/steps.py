"""Tables of ``plan calibrate steps``: runs, where prediction and measurement part, constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.calibration.steps.report import RunComparison, StepsReport

SMALL = 0.03
"""Differences below this part are noise between runs of one configuration."""

MOST_SHOWN = 4
"""Components of a run that are listed."""


def show_steps(console: Console, found: StepsReport, *, quiet: bool = False) -> None:
    """Runs before and after the fit; components, timers, memory and constants unless ``quiet``."""
    _show_runs(console, found)
    if quiet:
        return
    for run in found.runs:
        _show_notes(console, run)
        _show_components(console, run)
        _show_timers(console, run)
    _show_memory(console, found)
    _show_constants(console, found)


def _show_runs(console: Console, found: StepsReport) -> None:
    headings = ("run", "steps", "measured (s)", "spread (%)", "predicted (s)", "error (%)", "fitted (%)")
    table = new_table("Steps", headings, left=headings[:1])
    for run, after in zip(found.runs, found.fit.after.tolist(), strict=True):
        step = run.run.step
        table.add_row(
            run.run.name,
            str(step.count),
            f"{step.seconds:.4g}",
            f"{100 * step.spread:.1f}",
            f"{run.prediction.step_time_s:.4g}",
            f"{100 * run.error:+.1f}",
            f"{100 * (after / step.seconds - 1):+.1f}",
        )
    console.print(table)


def _show_notes(console: Console, found: RunComparison) -> None:
    step = found.run.step
    if step.warm_up:
        console.print(
            f"{found.run.name}: {len(step.warm_up)} steps of warm-up dropped, to {step.warm_up[-1]}"
        )
    if step.outliers:
        shown = ", ".join(str(number) for number in step.outliers[:8])
        console.print(f"{found.run.name}: much longer than the others and left out: steps {shown}")
    for note in found.run.notes:
        console.print(f"{found.run.name}: {note}")


def _show_components(console: Console, found: RunComparison) -> None:
    if abs(found.error) < SMALL:
        console.print(f"{found.run.name}: prediction and measurement agree within {100 * SMALL:.0f} %\n")
        return
    headings = ("component", "predicted (s)", "factor", "possible", "distance")
    table = new_table(
        f"{found.run.name}: which component alone would explain it", headings, left=headings[:1]
    )
    for part in found.components[:MOST_SHOWN]:
        table.add_row(
            part.name,
            f"{part.seconds:.4g}",
            "none" if part.factor is None else f"{part.factor:.3g}",
            f"{part.low:.2g} to {part.high:.2g}",
            f"{part.distance:.1f} sd" if part.possible else "impossible",
        )
    console.print(table)


def _show_timers(console: Console, found: RunComparison) -> None:
    if not found.timed:
        return
    headings = ("part", "measured (s)", "predicted (s)", "difference (s)")
    table = new_table(f"{found.run.name}: by its own timers", headings, left=headings[:1])
    for part in found.timed:
        difference = part.predicted_s - part.measured_s
        table.add_row(part.name, f"{part.measured_s:.4g}", f"{part.predicted_s:.4g}", f"{difference:+.3g}")
    console.print(table)


def _show_memory(console: Console, found: StepsReport) -> None:
    rows = [(run.run.name, *entry) for run in found.runs for entry in run.memory]
    if not rows:
        return
    headings = ("run", "kind", "measured (GiB)", "predicted (GiB)", "error (%)")
    table = new_table("Peak memory", headings, left=headings[:2])
    for name, kind, measured, predicted in rows:
        error = f"{100 * (predicted / measured - 1):+.1f}"
        table.add_row(name, kind, f"{measured / 2**30:.2f}", f"{predicted / 2**30:.2f}", error)
    console.print(table)


def _show_constants(console: Console, found: StepsReport) -> None:
    headings = ("constant", "before", "after", "move (sd)", "uncertainty left (%)")
    table = new_table("Constants that the runs depend on", headings, left=headings[:1])
    for moved in found.fit.moved:
        bound = " (at a bound)" if moved.at_bound else ""
        table.add_row(
            f"{moved.key}{bound}",
            f"{moved.before:.4g}",
            f"{moved.after:.4g}",
            f"{moved.spreads:+.2f}",
            f"{100 * moved.left:.0f}",
        )
    console.print(table)
    far = [str(moved.key) for moved in found.fit.moved if moved.far]
    if far:
        console.print(
            f"farther from other runs than a framework explains: {', '.join(far)}; look at the settings of the job first"
            " (precision, attention, compile, recompute, devices)"
        )
    for group in found.fit.alike:
        console.print(f"these runs cannot tell apart: {', '.join(str(key) for key in group)}")
