"""``plan estimate``: predict one layout of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from rich.console import Console


@click.command("estimate")
@job_options
@layout_option
@click.option("-o", "--output", "plan_file", metavar="PLAN", help="Write the plan file.")
@output_options
def command(loaded: LoadedJob, layout: str | None, plan_file: str | None, output: Output) -> None:
    """Predict step time, memory and communication of one layout of JOB (a job or plan file)."""
    from planner.costs.predict import predict
    from planner.jobs.plan import write_plan
    from planner.report.plan import print_plan
    from planner.report.ranking import job_line, ranking_table

    check_target(plan_file)
    if loaded.plan is not None and loaded.plan.outdated:
        output.note(f"note: changed since the plan was written: {', '.join(loaded.plan.outdated)}")
    prediction = predict(loaded.job, loaded.layout(layout))
    if plan_file is not None:
        write_plan(plan_file, loaded.job, prediction)

    def render(console: Console) -> None:
        console.print(job_line(loaded.job))
        if output.quiet:
            console.print(ranking_table([prediction], width=console.width))
            return
        print_plan(console, prediction)

    output.emit(prediction.to_json(), render)
