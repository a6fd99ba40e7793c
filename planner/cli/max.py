"""``plan max``: the largest sequence, micro-batch or depth that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console


@click.command("max")
@job_options
@click.option(
    "--of",
    "quantity",
    type=click.Choice(["seq_len", "micro_batch", "layers"]),
    default="seq_len",
    show_default=True,
    help="What is to grow.",
)
@layout_option
@output_options
def command(loaded: LoadedJob, quantity: Any, layout: str | None, output: Output) -> None:
    """The largest seq_len, micro_batch or layers with which JOB fits, and which knob buys more.

    Without --layout the best layout of a search is taken.
    """
    from planner.layouts.knobs import parse_layout
    from planner.report.largest import print_largest
    from planner.solvers.largest import largest

    job = loaded.job
    with output.progress() as progress:
        if layout is None and loaded.plan is None:
            from planner.solvers.search import search

            best = search(job, top=1, progress=progress).plans[0]
            chosen = parse_layout(best.layout, job)
        else:
            chosen = loaded.layout(layout)
        result = largest(job, quantity, chosen, progress=progress)

    def render(console: Console) -> None:
        print_largest(console, job, result, brief=output.quiet)

    output.emit(result.to_json(), render)
