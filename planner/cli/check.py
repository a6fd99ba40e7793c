"""``plan check``: is a layout legal, who talks to whom, does it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console


@click.command("check")
@job_options
@layout_option
@output_options
@click.pass_context
def command(context: click.Context, loaded: LoadedJob, layout: str | None, output: Output) -> None:
    """Is the layout legal for JOB? Names each broken rule with the nearest legal values, the rank groups, the memory.

    Exit code 1 when it is illegal or does not fit. The memory of schedules without a closed form needs plan simulate.
    """
    import dataclasses

    from planner.costs.pipeline import CLOSED_FORMS
    from planner.costs.predict import predict
    from planner.layouts.groups import rank_groups
    from planner.layouts.knobs import layout_to_knobs
    from planner.layouts.legality import check
    from planner.report.check import print_check
    from planner.simulator.schedules.of_layout import layout_schedule

    job, chosen = loaded.job, loaded.layout(layout)
    knobs = layout_to_knobs(chosen)
    violations = check(job, chosen)
    priced = not violations and chosen.schedule in CLOSED_FORMS
    prediction = predict(job, chosen) if priced else None
    if chosen.schedule == "csv" and not violations:
        layout_schedule(chosen)
    groups = {} if violations else rank_groups(chosen, job.devices)
    fits = None if prediction is None else prediction.memory.fits
    payload: dict[str, Any] = {
        "legal": not violations,
        "fits": fits,
        "layout": knobs,
        "violations": [dataclasses.asdict(violation) for violation in violations],
        "rank_groups": groups,
        "memory": None if prediction is None else prediction.to_json()["memory"],
    }

    def render(console: Console) -> None:
        print_check(console, knobs, violations, groups, prediction, brief=output.quiet)

    output.emit(payload, render)
    if violations or fits is False:
        context.exit(1)
