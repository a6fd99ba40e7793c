"""``plan calibrate fit``: constants of chips, networks and framework profiles from published runs."""

from __future__ import annotations

import time
from typing import Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError


@click.command(name="fit")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output-file", "target", metavar="FILE", help="Write the calibration (YAML).")
@click.option("--name", default="published-runs", show_default=True, help="Name inside the calibration.")
@click.option(
    "--stiffness",
    metavar="SHARE",
    default="1%",
    show_default=True,
    help="Log error per row that is as dear as moving a constant by one spread of its prior.",
)
@click.option(
    "--renewals", metavar="N", default="3", show_default=True, help="How often slopes are taken anew."
)
@click.option("--workers", metavar="N", help="Processes; default: one per core.")
@click.option("--left-out/--no-left-out", default=True, help="Also predict models and families left out.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Fit the cost model's constants to published runs (YAML files of rows, or folders of them)."""
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    paths: tuple[str, ...],
    target: str | None,
    name: str,
    stiffness: str,
    renewals: str,
    workers: str | None,
    left_out: bool,
) -> None:
    from planner.calibration.fit.report import FitOptions, fit_runs
    from planner.calibration.fit.result import to_json
    from planner.report.calibration import show_fit
    from planner.units import parse_count, parse_quantity

    options = FitOptions(
        name=name,
        stiffness=parse_quantity(stiffness, "1", field="--stiffness"),
        renewals=_at_least_one(parse_count(renewals, field="--renewals"), "--renewals"),
        workers=None
        if workers is None
        else _at_least_one(parse_count(workers, field="--workers"), "--workers"),
        left_out=left_out,
    )
    if target is not None:
        check_target(target)
    started = time.perf_counter()
    with output.progress() as progress:
        found = fit_runs(paths, options, progress)
    seconds = time.perf_counter() - started
    output.emit(
        to_json(found.calibration, found.groups, found.bounds, seconds),
        lambda console: show_fit(console, found, quiet=output.quiet),
    )
    if target is not None:
        from planner.calibration.fit.writing import write_calibration

        write_calibration(target, found.calibration)
        output.note(f"calibration: {target}")
    output.note(f"{found.calibration.rows} rows in {seconds:.1f} s")


def _at_least_one(number: int, field: str) -> int:
    if number < 1:
        raise PlannerError(f"found {number}; at least 1 is accepted", field=field)
    return number
