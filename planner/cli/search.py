"""``plan search``: rank the layouts of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, output_options
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from rich.console import Console

    from planner.jobs.types import Job
    from planner.report.explain import Explanation
    from planner.solvers.result import SearchResult


@click.command("search")
@job_options
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Plans to rank.")
@click.option("-o", "--output", "plan_file", metavar="PLAN", help="Write the best plan's file.")
@click.option(
    "--plot", "picture", metavar="PNG", help="Draw throughput against memory, and the step breakdown."
)
@click.option("--explain", is_flag=True, help="Say why neighbours of the best plan lost.")
@click.option("--gap", metavar="FRACTION", default="0", help="Stop when this near to the optimum, e.g. 1%.")
@click.option("--time-limit", metavar="TIME", help="Stop after this long with the best so far, e.g. 30 s.")
@output_options
def command(
    loaded: LoadedJob,
    top: int,
    plan_file: str | None,
    picture: str | None,
    explain: bool,
    gap: str,
    time_limit: str | None,
    output: Output,
) -> None:
    """Rank the layouts of JOB (a job or plan file), fastest first, with proof."""
    from planner.report.explain import explain_plan
    from planner.report.text import used_devices
    from planner.solvers.search import search
    from planner.units import parse_quantity

    _check_targets(plan_file, picture)
    limit_s = parse_quantity(time_limit, "s", field="--time-limit", allow_zero=False) if time_limit else None
    allowed_gap = parse_quantity(gap, "1", field="--gap")
    with output.progress() as progress:
        result = search(loaded.job, top=top, gap=allowed_gap, time_limit_s=limit_s, progress=progress)
    job = loaded.on_devices(used_devices(result.plans[0].layout))
    explanation = explain_plan(job, result.plans[0]) if explain else None
    written = _write(job, result, plan_file, picture)
    payload: dict[str, Any] = dict(result.to_json())
    if explanation is not None:
        payload["explanation"] = explanation.to_json()

    def render(console: Console) -> None:
        _print(console, job, result, explanation, output)
        for line in written:
            console.print(line)

    output.emit(payload, render)


def _check_targets(plan_file: str | None, picture: str | None) -> None:
    """Refuse files that cannot be written before the search begins."""
    check_target(plan_file)
    check_target(picture)
    if picture is not None:
        from planner.report.pictures import check_picture

        check_picture(picture)


def _write(job: Job, result: SearchResult, plan_file: str | None, picture: str | None) -> list[str]:
    """Write the plan and the picture that were asked for; a line about each."""
    lines = []
    if plan_file is not None:
        from planner.jobs.plan import write_plan

        write_plan(plan_file, job, result.plans[0])
        lines.append(f"plan written to {plan_file}")
    if picture is not None:
        from planner.report.plots import draw_search

        draw_search(picture, job, result.plans, result.pareto)
        lines.append(f"picture written to {picture}")
    return lines


def _print(
    console: Console, job: Job, result: SearchResult, explanation: Explanation | None, output: Output
) -> None:
    from planner.report.explain import print_explanation
    from planner.report.plan import print_plan
    from planner.report.ranking import certificate_line, job_line, pareto_table, ranking_table, space_lines

    console.print(job_line(job), "", sep="\n")
    if not output.quiet:
        console.print("The best plan", style="bold")
        print_plan(console, result.plans[0])
        console.print()
        if explanation is not None:
            print_explanation(console, explanation)
            console.print()
        if result.pareto:
            console.print(pareto_table(result.pareto))
            console.print()
        console.print("\n".join(space_lines(result.space)))
        console.print(certificate_line(result.certificate), style="bold")
        console.print()
    console.print(ranking_table(result.plans, title="Ranking", width=console.width))
