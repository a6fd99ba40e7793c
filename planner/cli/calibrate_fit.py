"""``plan calibrate fit``: constants of chips, networks and framework profiles from published measurements."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Literal

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.calibration.fit.folds import Method
    from planner.cli.output import ProgressCall
    from planner.hardware.calibration_files import Calibration, Data


@click.command(name="fit")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output-file", "target", metavar="FILE", help="Write the calibration (YAML).")
@click.option("--name", help="Name inside the calibration; default: published-runs, -kernels, -collectives.")
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
@click.option(
    "--left-out",
    type=click.Choice(["refit", "linear", "none"]),
    default="refit",
    show_default=True,
    help="Also predict models and families left out: fitted anew without them, or from slopes.",
)
@output_options
def command(output: Output, **request: Any) -> None:
    """Fit the cost model's constants to measurements of one kind: published runs (YAML files of rows), kernels (CSV
    tables) or collectives (CSV tables, YAML files of points); or folders of them; or a file that calibrate device or
    network wrote. The other options are for runs."""
    # processes share the cores out among themselves; threads of the linear algebra would only get in their way
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from planner.calibration.fit.kinds import data_of

    data = data_of(request["paths"])
    if data == "device" or data == "network":
        _answer_own(output, data, request["paths"], request["target"])
        return
    name = request.pop("name") or f"published-{data}"
    if data == "runs":
        _answer(output, name=name, **request)
    else:
        _answer_points(output, data, name, request["paths"], request["target"])


def _answer_own(
    output: Output, data: Literal["device", "network"], paths: tuple[str, ...], target: str | None
) -> None:
    """What ``calibrate device`` or ``network`` measured, fitted again."""
    from pathlib import Path

    from planner.cli.measured import answer

    if len(paths) > 1:
        raise PlannerError(f"found {len(paths)} files; one file of own measurements is accepted")
    check_target(target)
    answer(output, data, Path(paths[0]), None if target is None else Path(target))


def _answer_points(output: Output, data: Data, name: str, paths: tuple[str, ...], target: str | None) -> None:
    """Timings that closed forms price at once."""
    from planner.calibration.fit.writing import calibration_text, write_calibration

    if target is not None:
        check_target(target)
    started = time.perf_counter()
    with output.progress() as progress:
        calibration = _fit_points(data, name, paths, progress)
    seconds = time.perf_counter() - started
    output.emit(
        {"calibration": calibration.model_dump(mode="json"), "seconds": seconds},
        lambda console: console.print(calibration_text(calibration), highlight=False, markup=False),
    )
    if target is not None:
        write_calibration(target, calibration)
        output.note(f"calibration: {target}")
    output.note(f"{calibration.rows:,} timings in {seconds:.1f} s")


def _fit_points(data: Data, name: str, paths: tuple[str, ...], progress: ProgressCall) -> Calibration:
    if data == "kernels":
        from planner.calibration.fit.kernels import fit_kernels

        return fit_kernels(paths, progress, name=name)
    from planner.calibration.fit.collectives import fit_collectives

    return fit_collectives(paths, progress, name=name)


def _answer(
    output: Output,
    *,
    paths: tuple[str, ...],
    target: str | None,
    name: str,
    stiffness: str,
    renewals: str,
    workers: str | None,
    left_out: Method,
) -> None:
    from planner.calibration.fit.plain import left_out_path, to_json, write_left_out
    from planner.calibration.fit.report import FitOptions, fit_runs
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
        to_json(found, seconds),
        lambda console: show_fit(console, found, quiet=output.quiet),
    )
    if target is not None:
        from planner.calibration.fit.writing import write_calibration

        write_calibration(target, found.calibration)
        write_left_out(left_out_path(target), found, seconds)
        output.note(f"calibration: {target}; errors and left-out predictions: {left_out_path(target)}")
    output.note(f"{found.calibration.rows} rows in {seconds:.1f} s")


def _at_least_one(number: int, field: str) -> int:
    if number < 1:
        raise PlannerError(f"found {number}; at least 1 is accepted", field=field)
    return number
