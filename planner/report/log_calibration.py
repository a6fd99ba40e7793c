"""Tables of ``plan calibrate log``: every point with its prediction before and after, fitted constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.calibration.logs.calibrate import FloatArray, LogReport
    from planner.calibration.logs.sweeps import LoggedTest


def show_logs(console: Console, found: LogReport, *, quiet: bool = False) -> None:
    """Errors of every test, and every point and constant unless ``quiet``."""
    if not quiet:
        for test, before, after in zip(found.tests, found.before, found.after, strict=True):
            _show_points(console, test, before, after)
    headings = ("file", "collective", "ranks", "network", "timings", "before", "after")
    table = new_table("|error| of the prediction, median / worst in %", headings, left=headings[:2])
    for test, before, after in zip(found.tests, found.before, found.after, strict=True):
        table.add_row(
            f"{test.benchmark.file.name}:{test.benchmark.line}",
            test.sweep.collective,
            str(test.place.machine.ranks),
            test.place.machine.outermost,
            str(len(test.timed)),
            _errors(test, before),
            _errors(test, after),
        )
    console.print(table)
    _show_constants(console, found)
    for line in found.skipped:
        console.print(line)


def _show_points(console: Console, test: LoggedTest, before: FloatArray, after: FloatArray) -> None:
    machine = test.place.machine
    title = f"{test.sweep.collective}, {machine.ranks} ranks ({test.place.words})"
    headings = ("bytes", "placement", "time (us)", "algbw (GB/s)", "busbw (GB/s)", "before (%)", "after (%)")
    table = new_table(title, headings, left=("placement",))
    for (row, timed), first, second in zip(test.timed, before, after, strict=True):
        errors = (f"{100 * (seconds * 1e6 / timed.time_us - 1):+.0f}" for seconds in (first, second))
        table.add_row(
            f"{row.size:,}",
            timed.placement,
            f"{timed.time_us:g}",
            f"{timed.algbw:g}",
            f"{timed.busbw:g}",
            *errors,
        )
    console.print(table)
    for note in test.notes:
        console.print(f"note: {note}")


def _errors(test: LoggedTest, predicted: FloatArray) -> str:
    if not len(predicted):
        return ""
    sizes = np.abs(test.sweep.errors(predicted))
    return f"{100 * float(np.median(sizes)):.1f} / {100 * float(sizes.max()):.0f}"


def _show_constants(console: Console, found: LogReport) -> None:
    if found.calibration is None:
        return
    headings = ("network", "constant", "before", "fitted", "timings")
    table = new_table("Constants", headings, left=headings[:2])
    for kind, scope in found.calibration.networks.items():
        for name, figure in scope.constants.items():
            table.add_row(kind, name, f"{figure.prior:.4g}", f"{figure.value:.4g}", str(figure.rows))
    console.print(table)
