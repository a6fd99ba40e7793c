"""``plan hardware``: the catalogue of accelerators, network kinds and clusters."""

from __future__ import annotations

import click

from planner.cli.options import output_options
from planner.cli.output import Output


@click.group("hardware")
def command() -> None:
    """The catalogue of accelerators, network kinds and clusters."""


@command.command("list")
@output_options
def list_all(output: Output) -> None:
    """List what is in the catalogue."""
    from planner.report.hardware import hardware_list, print_hardware_list

    catalogue = hardware_list()
    output.emit(catalogue, lambda console: print_hardware_list(console, catalogue))


@command.command("show")
@click.argument("name")
@output_options
def show(name: str, output: Output) -> None:
    """Show every figure of accelerator, network kind or cluster NAME (or a cluster file) with its source and grade."""
    from planner.report.hardware import hardware_sheet, print_sheet

    sheet = hardware_sheet(name)
    output.emit(sheet.to_json(), lambda console: print_sheet(console, sheet))
