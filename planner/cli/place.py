"""``plan place``: which node plays which ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from rich.console import Console

    from planner.hardware.links import Links
    from planner.jobs.types import Job
    from planner.solvers.placement.hostfile import Hostfile
    from planner.solvers.placement.place import PlacedPlan, Placement


@click.command("place")
@job_options
@layout_option
@click.option(
    "--links", "matrix", metavar="CSV", help="Measured GB/s between nodes (default: the cluster's)."
)
@click.option("--hostfile", metavar="FILE", help="Hosts in the order of the matrix, one a line.")
@click.option("-o", "--output", "target", metavar="FILE", help="Write the hosts in the order of the ranks.")
@click.option("--plot", "picture", metavar="PNG", help="Draw the matrix before and after placement.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the annealing.")
@click.option("--restarts", type=click.IntRange(1, 1000), default=3, show_default=True, help="Annealings.")
@click.option("--time-limit", metavar="TIME", help="Start no annealing after this long, e.g. 10 s.")
@output_options
def command(
    loaded: LoadedJob,
    layout: str | None,
    matrix: str | None,
    hostfile: str | None,
    target: str | None,
    picture: str | None,
    seed: int,
    restarts: int,
    time_limit: str | None,
    output: Output,
) -> None:
    """Order the axes of a plan on the network, and its nodes on measured links (PLAN, or JOB with --layout).

    Prices every order of the mesh axes. Where the cluster has measured links, finds the nodes whose slow links the plan
    does not need, and writes the host file that makes a launcher use them so.
    """
    from planner.report.pictures import check_picture
    from planner.solvers.placement.anneal import Options
    from planner.solvers.placement.place import place_plan
    from planner.units import parse_quantity

    for file in (target, picture):
        check_target(file)
    if picture is not None:
        check_picture(picture)
    path = matrix or loaded.job.cluster.links
    if path is None and (target or picture or hostfile):
        raise click.UsageError("host files and plots need measured links: --links, or 'links' of the cluster")
    links, hosts = (None, None) if path is None else _inputs(path, hostfile)
    limit_s = parse_quantity(time_limit, "s", field="--time-limit", allow_zero=False) if time_limit else None
    options = Options(seed, restarts, time_limit_s=limit_s)
    chosen = loaded.layout(layout)
    with output.progress() as progress:
        result = place_plan(loaded.job, chosen, links, options, progress)
    written = [] if result.placement is None else _write(result.placement, hosts, target, picture, loaded.job)
    payload: dict[str, Any] = {
        "layout": dict(chosen.knobs()),
        "axis_orders": [order.to_json() for order in result.orders],
        "placement": None if result.placement is None else result.placement.to_json(),
    }

    def render(console: Console) -> None:
        _print(console, loaded.job, result, output)
        for line in written:
            console.print(line)

    output.emit(payload, render)


def _inputs(path: str, hostfile: str | None) -> tuple[Links, Hostfile | None]:
    """The measured links, and the hosts that name their nodes."""
    from planner.hardware.links import load_links
    from planner.solvers.placement.hostfile import named_by, read_hostfile

    links = load_links(path)
    if hostfile is None:
        return links, None
    hosts = read_hostfile(hostfile)
    return named_by(links, hosts), hosts


def _write(
    placement: Placement, hosts: Hostfile | None, target: str | None, picture: str | None, job: Job
) -> list[str]:
    """Write the host file and the picture that were asked for; a line about each."""
    lines = []
    if target is not None:
        from planner.documents import write_text
        from planner.solvers.placement.hostfile import hosts_of

        write_text(target, "".join(f"{line}\n" for line in hosts_of(placement, hosts)))
        lines.append(f"hosts written to {target}")
    if picture is not None:
        from planner.report.placement_plot import draw_placement

        draw_placement(picture, placement, f"{job.model.name} on {job.cluster.name}: links between nodes")
        lines.append(f"picture written to {picture}")
    return lines


def _print(console: Console, job: Job, result: PlacedPlan, output: Output) -> None:
    from planner.report.placement import print_orders, print_placement
    from planner.report.ranking import job_line
    from planner.report.text import layout_words

    console.print(job_line(job), layout_words(result.prediction.layout), "", sep="\n")
    if not output.quiet:
        print_orders(console, result.orders)
        console.print()
    if result.placement is None:
        console.print("no measured links: nodes are alike, so any of them may play any ranks")
        return
    print_placement(console, result.placement, brief=output.quiet)
