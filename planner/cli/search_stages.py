"""``plan search --stages``: the best pipelines with uneven stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.options import LoadedJob
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from rich.console import Console

    from planner.solvers.stages.result import StagedSearch
    from planner.solvers.stages.uneven import StageOptions


def search_stages(
    loaded: LoadedJob,
    count: int,
    options: StageOptions,
    *,
    gap: float,
    time_limit_s: float | None,
    plan_file: str | None,
    lp_file: str | None,
    output: Output,
) -> None:
    """Search, cut the best pipelines unevenly, print them and write what was asked for."""
    from planner.solvers.stages.study import staged_search

    check_target(plan_file)
    check_target(lp_file)
    with output.progress() as progress:
        found = staged_search(
            loaded.job, count, options, gap=gap, time_limit_s=time_limit_s, progress=progress
        )
    written = _write(loaded, found, plan_file, lp_file)

    def render(console: Console) -> None:
        _print(console, found, output)
        for line in written:
            console.print(line)

    output.emit(found.to_json(), render)


def _write(loaded: LoadedJob, found: StagedSearch, plan_file: str | None, lp_file: str | None) -> list[str]:
    lines = []
    best = found.plans[0]
    if plan_file is not None:
        from planner.jobs.plan import write_plan
        from planner.report.text import used_devices

        write_plan(plan_file, loaded.on_devices(used_devices(best.after.layout)), best.after)
        lines.append(f"plan written to {plan_file}")
    if lp_file is not None:
        from planner.solvers.stages.uneven import write_stage_programme

        write_stage_programme(found.job, best.stages.before, lp_file)
        lines.append(f"programme of the best pipeline's stages written to {lp_file}")
    return lines


def _print(console: Console, found: StagedSearch, output: Output) -> None:
    from planner.report.ranking import certificate_line, job_line, space_lines
    from planner.report.stages import ranks_table, stages_lines, stages_table

    if not output.quiet:
        console.print(job_line(found.job), "", sep="\n")
        console.print(ranks_table(found.plans[0]))
        console.print("\n".join(space_lines(found.search.space)))
        if found.roomier == 1.0:
            console.print(certificate_line(found.search.certificate), style="bold")
        console.print()
    console.print(stages_table(found.plans))
    console.print(*stages_lines(found.plans), sep="\n")
