"""``plan calibrate``: constants of the cost model from measurements; each way is a command, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from planner.errors import suggest

WAYS: Mapping[str, str] = MappingProxyType(
    {
        "device": "Measure this device: kernels and small steps.",
        "network": "Measure collectives between processes here, or under torchrun.",
        "fit": "Fit the constants to published or your own runs.",
        "log": "Constants of links from output of nccl-tests or rccl-tests.",
        "steps": "Your own training runs: where predictions part from them, constants of the framework.",
    }
)


class _Ways(click.Group):
    """Commands by name, from ``planner.cli.calibrate_<name>``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(WAYS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in WAYS:
            return None
        found = importlib.import_module(f"planner.cli.calibrate_{cmd_name}").command
        if not isinstance(found, click.Command):
            raise TypeError(f"planner.cli.calibrate_{cmd_name}.command is no click command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in WAYS and not name.startswith("-"):
            raise click.UsageError(f"no way to calibrate '{name}'; {suggest(name, WAYS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Ways"):
            formatter.write_dl(list(WAYS.items()))


@click.group(cls=_Ways, name="calibrate")
def command() -> None:
    """Fit the constants of the cost model to measurements."""
