"""``plan calibrate device``: measure kernels and small steps on this device and fit the cost model to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.calibration.measure.grid import Budget


@click.command(name="device")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--accelerator", metavar="NAME", help="Catalogue name; default: cpu, on cuda told from the device's name."
)
@click.option(
    "--precision", metavar="LIST", help="For example bf16,fp8; default: all that can be measured here."
)
@click.option("--budget", type=click.Choice(["small", "full"]), default="small", show_default=True)
@click.option(
    "--processes",
    metavar="N",
    default="1",
    show_default=True,
    help="Copies that are busy at the same time with a thread each: as many as the cluster has devices on this machine.",
)
@click.option(
    "-o", "--output-file", "target", metavar="FILE", required=True, help="Write or complete this calibration."
)
@output_options
def command(
    output: Output,
    *,
    device: Literal["cpu", "cuda"],
    accelerator: str | None,
    precision: str | None,
    budget: Budget,
    processes: str,
    target: str,
) -> None:
    """Measure matmuls, attention, memory-bound operators and blocks of a small model on this device, and fit the cost
    model's constants to them.

    Measurements go point by point into a file beside FILE (my.yaml: my.device.yaml); started again, the command goes on
    from there."""
    from planner.calibration.measure.start import (
        DeviceOptions,
        accelerator_here,
        measure_device,
        precisions_of,
    )
    from planner.cli.measured import answer
    from planner.units import parse_count

    check_target(target)
    count = parse_count(processes, field="--processes")
    if count < 1 or (device == "cuda" and count > 1):
        accepted = "1 is accepted on cuda" if device == "cuda" else "at least 1 is accepted"
        raise PlannerError(f"found {count}; {accepted}", field="--processes")
    options = DeviceOptions(
        device, accelerator or accelerator_here(device), tuple(precisions_of(precision)), budget, count
    )
    with output.progress() as progress:
        record = measure_device(options, Path(target), progress)
    answer(output, "device", record, Path(target))
