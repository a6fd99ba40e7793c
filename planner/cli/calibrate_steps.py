"""``plan calibrate steps``: a user's own runs against their predictions, and what they teach of the framework."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, load, output_options, parse_settings
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from planner.calibration.steps.runs import OwnRun
    from planner.jobs.types import Job
    from planner.layouts.layout import Layout


@click.command(name="steps")
@click.argument("files", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--job", "job_file", metavar="JOB", help="Job of the runs (with --layout).")
@click.option(
    "--plan", "plans", metavar="PLAN", multiple=True, help="Plan of the runs; once, or once per log."
)
@click.option(
    "--layout", "layouts", metavar="KNOBS", multiple=True, help="Such as tp=8,pp=4; once, or once per log."
)
@click.option("--devices", metavar="N", help="Devices of the runs.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Override a key of the job.")
@click.option("-o", "--output-file", "target", metavar="FILE", help="Write the calibration (YAML).")
@click.option("--name", default="steps", show_default=True, help="Name inside the calibration.")
@output_options
def command(
    output: Output,
    files: tuple[Path, ...],
    job_file: str | None,
    plans: tuple[str, ...],
    layouts: tuple[str, ...],
    devices: str | None,
    settings: tuple[str, ...],
    target: str | None,
    name: str,
) -> None:
    """Compare measured steps with predictions, say which component may be off, and adjust the constants of the framework.
    LOG is what Megatron-LM, torchtitan, DeepSpeed or MaxText printed, or a CSV table of runs (docs/calibrate-from-logs.md)."""
    from planner.calibration.fit.writing import write_calibration
    from planner.calibration.steps.report import report_steps
    from planner.errors import NoAnswerError
    from planner.report.steps import show_steps

    check_target(target)
    overrides = parse_settings(settings) | ({} if devices is None else {"devices": devices})
    jobs = _jobs(job_file, plans, overrides)
    with output.progress() as progress:
        progress(0.0, "reading logs")
        runs = _runs(files, jobs, layouts)
        found = report_steps(runs, files, name, progress)
    output.emit(found.to_json(), lambda console: show_steps(console, found, quiet=output.quiet))
    if target is not None:
        if not any(found.fit.calibration.sections().values()):
            raise NoAnswerError("the runs agree with the constants in use; there is nothing to write")
        write_calibration(target, found.fit.calibration)
        output.note(f"calibration: {target}")


def _jobs(job_file: str | None, plans: tuple[str, ...], overrides: Mapping[str, Any]) -> list[LoadedJob]:
    if (job_file is None) == (not plans):
        raise click.UsageError("--job (with --layout) or --plan is required")
    named = plans if job_file is None else (job_file,)
    return [load(path, dict(overrides)) for path in named]


def _runs(files: tuple[Path, ...], jobs: list[LoadedJob], layouts: tuple[str, ...]) -> list[OwnRun]:
    from planner.calibration.steps.csv_runs import is_table, runs_of_table
    from planner.calibration.steps.runs import run_of_log

    for what, given in (("--plan", jobs), ("--layout", layouts)):
        if len(given) not in (0, 1, len(files)):
            raise click.UsageError(
                f"{what} is given {len(given)} times; once, or once per log ({len(files)})"
            )
    runs: list[OwnRun] = []
    for index, file in enumerate(files):
        loaded = jobs[index % len(jobs)]
        knobs = layouts[index % len(layouts)] if layouts else None
        if is_table(file):
            runs += runs_of_table(file, partial(_of_row, loaded, knobs))
        else:
            runs.append(run_of_log(file, loaded.job, loaded.layout(knobs)))
    return runs


def _of_row(
    loaded: LoadedJob,
    base: str | None,
    keys: Mapping[str, Any],
    knobs: Mapping[str, Any],
    file: Path,
    line: int,
) -> tuple[Job, Layout]:
    """Job and layout of a row: its own keys and knobs over those of the command line."""
    from planner.errors import PlannerError
    from planner.jobs.loader import override, resolve
    from planner.layouts.knob_text import parse_knob_text
    from planner.layouts.knobs import parse_layout

    try:
        job = resolve(override(loaded.place, dict(keys))) if keys else loaded.job
    except PlannerError as error:
        raise PlannerError(error.message, file=file, line=line, field=error.field) from None
    given = parse_knob_text(base) if base else dict(loaded.plan.knobs) if loaded.plan and not knobs else {}
    return job, parse_layout({**given, **knobs}, job, file=str(file), line=line, base=loaded.place.base)
