"""``plan models``: the catalogue of models."""

from __future__ import annotations

import click

from planner.cli.options import output_options
from planner.cli.output import Output


@click.group("models")
def command() -> None:
    """The catalogue of models."""


@command.command("list")
@output_options
def list_all(output: Output) -> None:
    """List the presets with their sizes."""
    from planner.report.models import model_list, print_model_list

    rows = model_list()
    output.emit({"models": rows}, lambda console: print_model_list(console, rows))


@command.command("show")
@click.argument("name")
@output_options
def show(name: str, output: Output) -> None:
    """Show preset NAME (or a model file, or a Hugging Face config.json): dimensions, source, parameters by block."""
    from planner.report.models import model_sheet, print_model

    sheet = model_sheet(name)
    output.emit(sheet, lambda console: print_model(console, sheet))
