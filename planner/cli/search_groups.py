"""``plan search`` on a cluster with groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.cli.options import LoadedGroups
from planner.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from planner.solvers.mixed.job import MixedJob
    from planner.solvers.mixed.result import MixedResult


def refuse(*, explain: bool, refine: int | None, rank: str, stages: int | None, write_lp: str | None) -> None:
    """Options of ``plan search`` that a cluster with groups does not have.

    Raises:
        click.UsageError: one of them was given.
    """
    given = {
        "--explain": explain,
        "--refine": refine is not None,
        "--rank pessimistic": rank == "pessimistic",
        "--stages": stages is not None,
        "--write-lp": write_lp is not None,
    }
    for option, used in given.items():
        if used:
            raise click.UsageError(
                f"{option} ranks layouts of equal devices; the job's cluster has groups (stages on groups are cut anyway)"
            )


def search_groups_command(
    loaded: LoadedGroups,
    plan_file: str | None,
    picture: str | None,
    *,
    gap: float,
    time_limit_s: float | None,
    output: Output,
) -> None:
    """Search, write what was asked for, and print."""
    from planner.solvers.mixed.search import search_groups

    with output.progress() as progress:
        result = search_groups(loaded.job, gap=gap, time_limit_s=time_limit_s, progress=progress)
    written = _write(loaded.job, result, plan_file, picture)

    def render(console: Console) -> None:
        from planner.report.mixed import print_mixed

        print_mixed(console, loaded.job, result, brief=output.quiet)
        for line in written:
            console.print(line)

    output.emit(result.to_json(), render)


def _write(mixed: MixedJob, result: MixedResult, plan_file: str | None, picture: str | None) -> list[str]:
    """Write the plan and the picture that were asked for; a line about each."""
    lines = []
    if plan_file is not None:
        from planner.documents import write_yaml
        from planner.solvers.mixed.plan_file import mixed_plan_content

        write_yaml(plan_file, mixed_plan_content(mixed, result.plans[0]))
        lines.append(f"plan written to {plan_file}")
    if picture is not None:
        from planner.report.mixed_plot import draw_mixed

        draw_mixed(picture, mixed, result)
        lines.append(f"picture written to {picture}")
    return lines
