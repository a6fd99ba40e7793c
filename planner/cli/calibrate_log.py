"""``plan calibrate log``: constants of links from pasted output of nccl-tests or rccl-tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from planner.calibration.logs.calibrate import Given


@click.command(name="log")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cluster", metavar="C", help="Where it ran: catalogue name or cluster file.")
@click.option("--ranks-per-node", metavar="N", help="Where the log does not list its devices.")
@click.option("--ranks", metavar="N", help="Where neither devices nor rates tell.")
@click.option("--collective", metavar="NAME", help="Where neither the program's name nor the rates tell.")
@click.option("-o", "--output-file", "target", metavar="FILE", help="Write the calibration (YAML).")
@click.option(
    "--points", metavar="FILE", help="Write the timings as points for plan validate collectives (YAML)."
)
@click.option("--name", default="log", show_default=True, help="Name inside the calibration.")
@output_options
def command(
    output: Output,
    files: tuple[Path, ...],
    target: str | None,
    points: str | None,
    name: str,
    cluster: str | None,
    ranks_per_node: str | None,
    ranks: str | None,
    collective: str | None,
) -> None:
    """Read what nccl-tests or rccl-tests printed, compare it with predictions, and fit the constants of the links. The
    calibration lies over the catalogue's where a cluster file names it (calibration: FILE)."""
    from planner.calibration.fit.writing import write_calibration
    from planner.calibration.logs.calibrate import calibrate_logs
    from planner.calibration.logs.sweeps import points_document
    from planner.documents import write_yaml
    from planner.errors import NoAnswerError
    from planner.report.log_calibration import show_logs

    check_target(target)
    check_target(points)
    given = _given(cluster, ranks_per_node, ranks, collective)
    with output.progress() as progress:
        found = calibrate_logs(files, given, name, progress)
    output.emit(found.to_json(), lambda console: show_logs(console, found, quiet=output.quiet))
    if points is not None:
        write_yaml(points, points_document(found.tests))
        output.note(f"points: {points}")
    if target is not None:
        if found.calibration is None:
            raise NoAnswerError("; ".join(found.skipped))
        write_calibration(target, found.calibration)
        output.note(f"calibration: {target}")


def _given(cluster: str | None, per_node: str | None, ranks: str | None, collective: str | None) -> Given:
    from planner.calibration.logs.calibrate import Given
    from planner.costs.collectives import collective_named
    from planner.hardware.loader import load_cluster

    return Given(
        cluster=None if cluster is None else load_cluster(cluster, base=Path.cwd()),
        collective=None if collective is None else collective_named(collective),
        ranks=_count(ranks, "--ranks"),
        ranks_per_node=_count(per_node, "--ranks-per-node"),
    )


def _count(text: str | None, field: str) -> int | None:
    from planner.errors import PlannerError
    from planner.units import parse_count

    if text is None:
        return None
    value = parse_count(text, field=field)
    if value < 1:
        raise PlannerError(f"found '{text}'; at least 1", field=field)
    return value
