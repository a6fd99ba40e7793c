"""``plan calibrate network``: measure collectives over every group of a cluster and fit the cost model to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.calibration.measure.grid import Budget


@click.command(name="network")
@click.option("--processes", metavar="N", help="Processes on this machine (loopback); default: 2.")
@click.option(
    "--cluster", metavar="FILE", help="Cluster file or catalogue name whose levels name the groups."
)
@click.option("--backend", type=click.Choice(["gloo", "nccl"]), default="gloo", show_default=True)
@click.option("--budget", type=click.Choice(["small", "full"]), default="small", show_default=True)
@click.option("--port", metavar="PORT", help="Of the rendezvous of local processes; default: a free one.")
@click.option(
    "-o", "--output-file", "target", metavar="FILE", required=True, help="Write or complete this calibration."
)
@output_options
def command(
    output: Output,
    *,
    processes: str | None,
    cluster: str | None,
    backend: Literal["gloo", "nccl"],
    budget: Budget,
    port: str | None,
    target: str,
) -> None:
    """Measure all-reduce, all-gather, reduce-scatter, all-to-all and send/receive over every group of the cluster, and fit
    the constants of its links.

    Starts local processes, or is itself one rank under torchrun (torchrun ... -m planner.cli calibrate network ...).
    Measurements go point by point into a file beside FILE (my.yaml: my.network.yaml); started again, the command goes on
    from there. Measure while nothing else runs: collectives of gloo need the cores."""
    from planner.calibration.measure.start import measure_network
    from planner.cli.measured import answer
    from planner.units import parse_count

    check_target(target)
    with output.progress() as progress:
        record = measure_network(
            _cluster(processes, cluster),
            Path(target),
            progress,
            backend=backend,
            budget=budget,
            port=None if port is None else parse_count(port, field="--port"),
        )
    if os.environ.get("RANK", "0") == "0":
        answer(output, "network", record, Path(target))


def _cluster(processes: str | None, cluster: str | None) -> dict[str, Any] | str:
    from planner.calibration.measure.start import under_torchrun
    from planner.units import parse_count

    if cluster is not None and processes is not None:
        raise PlannerError("is what the cluster says; leave one of both out", field="--processes")
    if cluster is not None:
        return cluster
    from planner.calibration.measure.machine import this_machine

    given = os.environ["WORLD_SIZE"] if under_torchrun() and processes is None else processes or "2"
    count = parse_count(given, field="--processes")
    if count < 2:
        raise PlannerError(f"found {count}; at least 2 is accepted", field="--processes")
    return this_machine(count)
