"""``plan compare``: the differences between plans, explained by component."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.cli.options import load, output_options
from planner.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console


@click.command("compare")
@click.argument("plans", metavar="PLAN PLAN...", nargs=-1, required=True, type=click.Path())
@output_options
def command(plans: tuple[str, ...], output: Output) -> None:
    """Compare plan files: what the later ones gain or lose against the first, in time and memory by class."""
    from planner.costs.predict import predict
    from planner.report.comparison import Compared, comparison_json, print_comparison

    if len(plans) < 2:
        raise click.UsageError("at least two plan files are needed")
    compared = []
    for path in plans:
        loaded = load(path)
        if loaded.plan is None:
            raise click.UsageError(
                f"{path} is a job, not a plan; write one with 'plan search {path} -o plan.yaml'"
            )
        if loaded.plan.outdated:
            output.note(f"note: {path}: changed since it was written: {', '.join(loaded.plan.outdated)}")
        compared.append(Compared(path, loaded.job, predict(loaded.job, loaded.layout(None))))

    def render(console: Console) -> None:
        print_comparison(console, compared, brief=output.quiet)

    output.emit(comparison_json(compared), render)
