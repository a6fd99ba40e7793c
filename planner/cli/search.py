"""``plan search``: rank the layouts of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedGroups, LoadedJob, job_or_groups_options, output_options
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from rich.console import Console

    from planner.jobs.types import Job
    from planner.report.explain import Explanation
    from planner.solvers.refinement import Refinement
    from planner.solvers.result import SearchResult


@click.command("search")
@job_or_groups_options
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Plans to rank.")
@click.option("-o", "--output", "plan_file", metavar="PLAN", help="Write the best plan's file.")
@click.option(
    "--plot", "picture", metavar="PNG", help="Draw throughput against memory, and the step breakdown."
)
@click.option("--explain", is_flag=True, help="Say why neighbours of the best plan lost.")
@click.option(
    "--refine", type=click.IntRange(1, 1000), metavar="N", help="Simulate the best N and rank anew."
)
@click.option(
    "--rank",
    type=click.Choice(["expected", "pessimistic"]),
    default="expected",
    show_default=True,
    help="Rank by expected time, or by the upper end of its interval.",
)
@click.option(
    "--stages",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Deal layers and recompute of the best N pipelines out unevenly.",
)
@click.option(
    "--write-lp", metavar="FILE", help="With --stages: write the best pipeline's integer programme."
)
@click.option(
    "--back-end",
    type=click.Choice(["highs", "cbc"]),
    help="With --stages: what solves integer programmes (default: highs).",
)
@click.option(
    "--pareto",
    metavar="AXES",
    help="Axes of the Pareto set: two or more of step_time, memory, cost, devices.",
)
@click.option("--gap", metavar="FRACTION", default="0", help="Stop when this near to the optimum, e.g. 1%.")
@click.option("--time-limit", metavar="TIME", help="Stop after this long with the best so far, e.g. 30 s.")
@output_options
def command(
    loaded: LoadedJob | LoadedGroups,
    top: int,
    plan_file: str | None,
    picture: str | None,
    explain: bool,
    refine: int | None,
    rank: str,
    stages: int | None,
    write_lp: str | None,
    back_end: str | None,
    pareto: str | None,
    gap: str,
    time_limit: str | None,
    output: Output,
) -> None:
    """Rank the layouts of JOB (a job or plan file), fastest first, with proof."""
    from planner.solvers.pareto import DEFAULT_AXES, parse_axes
    from planner.solvers.refine import refined_search
    from planner.solvers.search import search
    from planner.units import parse_quantity

    _check_targets(plan_file, picture)
    _refuse_conflicts(stages, refine, rank, write_lp, back_end, alone=bool(picture or explain or pareto))
    limit_s = parse_quantity(time_limit, "s", field="--time-limit", allow_zero=False) if time_limit else None
    allowed_gap = parse_quantity(gap, "1", field="--gap")
    axes = parse_axes(pareto) if pareto is not None else DEFAULT_AXES
    if isinstance(loaded, LoadedGroups):
        from planner.cli.search_groups import refuse, search_groups_command

        if pareto is not None:
            raise click.UsageError("--pareto is for clusters without groups")
        refuse(explain=explain, refine=refine, rank=rank, stages=stages, write_lp=write_lp)
        search_groups_command(
            loaded, plan_file, picture, gap=allowed_gap, time_limit_s=limit_s, output=output
        )
        return
    if stages is not None:
        _search_stages(loaded, stages, back_end or "highs", write_lp, plan_file, allowed_gap, limit_s, output)
        return
    with output.progress() as progress:
        options: Any = {"top": top, "gap": allowed_gap, "time_limit_s": limit_s, "axes": axes}
        options["progress"], refinement = progress, None
        if refine is None:
            result = search(loaded.job, pessimistic=rank == "pessimistic", **options)
        else:
            result, refinement = refined_search(loaded.job, count=refine, **options)
    _show(loaded, result, refinement, explain, plan_file, picture, output)


def _show(
    loaded: LoadedJob,
    result: SearchResult,
    refinement: Refinement | None,
    explain: bool,
    plan_file: str | None,
    picture: str | None,
    output: Output,
) -> None:
    """Write the files that were asked for and print the answer."""
    from planner.report.explain import explain_plan
    from planner.report.text import used_devices

    job = loaded.on_devices(used_devices(result.plans[0].layout))
    explanation = explain_plan(job, result.plans[0]) if explain else None
    written = _write(job, result, plan_file, picture)
    payload: dict[str, Any] = dict(result.to_json())
    if refinement is not None:
        payload["refinement"] = refinement.to_json()
    if explanation is not None:
        payload["explanation"] = explanation.to_json()

    def render(console: Console) -> None:
        _print(console, job, result, refinement, explanation, output)
        for line in written:
            console.print(line)

    output.emit(payload, render)


def _refuse_conflicts(
    stages: int | None,
    refine: int | None,
    rank: str,
    write_lp: str | None,
    back_end: str | None,
    *,
    alone: bool,
) -> None:
    """Refuse options that exclude each other; ``alone``: one that uneven stages have no answer for."""
    if stages is not None and (refine is not None or rank == "pessimistic" or alone):
        raise click.UsageError(
            "--stages excludes --refine, --rank pessimistic, --plot, --explain and --pareto"
        )
    if write_lp is not None and stages is None:
        raise click.UsageError("--write-lp writes the programme of uneven stages: give --stages N too")
    if back_end is not None and stages is None:
        raise click.UsageError("--back-end solves the programme of uneven stages: give --stages N too")
    if refine is not None and rank == "pessimistic":
        raise click.UsageError(
            "--refine ranks by simulated time; it and --rank pessimistic exclude each other"
        )


def _search_stages(
    loaded: LoadedJob,
    count: int,
    back_end: Any,
    lp_file: str | None,
    plan_file: str | None,
    gap: float,
    limit_s: float | None,
    output: Output,
) -> None:
    from planner.cli.search_stages import search_stages
    from planner.solvers.stages.uneven import StageOptions

    search_stages(
        loaded,
        count,
        StageOptions(back_end=back_end),
        gap=gap,
        time_limit_s=limit_s,
        plan_file=plan_file,
        lp_file=lp_file,
        output=output,
    )


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
    console: Console,
    job: Job,
    result: SearchResult,
    refinement: Refinement | None,
    explanation: Explanation | None,
    output: Output,
) -> None:
    from planner.report.explain import print_explanation
    from planner.report.noise import noise_lines
    from planner.report.plan import print_plan
    from planner.report.ranking import (
        certificate_line,
        job_line,
        pareto_table,
        ranking_table,
        same_devices_note,
        space_lines,
    )
    from planner.report.refinement import claim_line, explanation_note, refinement_lines

    console.print(job_line(job), "", sep="\n")
    if not output.quiet:
        console.print("The best plan", style="bold")
        print_plan(console, result.plans[0])
        console.print()
        if explanation is not None:
            print_explanation(console, explanation)
            note = None if refinement is None else explanation_note(refinement)
            console.print(*([note] if note else []), "", sep="\n")
        if result.pareto:
            console.print(pareto_table(result.pareto, result.pareto_axes))
            console.print(*same_devices_note(job, result.pareto, result.pareto_axes), "", sep="\n")
        console.print("\n".join(space_lines(result.space)))
        console.print(certificate_line(result.certificate), style="bold")
        if refinement is not None:
            console.print(*refinement_lines(refinement), claim_line(result.certificate), sep="\n")
        console.print()
    ranks = None
    if refinement is not None:
        ranks = [item.closed_form_rank for item in refinement.plans[: len(result.plans)]]
    price = result.price_per_device_hour
    console.print(
        ranking_table(
            result.plans, title="Ranking", width=console.width, closed_form_ranks=ranks, price=price
        )
    )
    console.print(*noise_lines(result.noise), sep="\n")
    if job.cluster.links is not None and not output.quiet:
        console.print(
            "links between nodes were measured; 'plan place PLAN' finds the nodes for a plan's ranks"
        )
