"""``plan validate``: predictions against data; each kind of data is a command of its own, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from planner.errors import suggest

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "runs": "Published training runs: step time and memory.",
        "kernels": "Measured kernels: matmul, attention, memory-bound operators.",
        "collectives": "Measured collectives: nccl-tests tables and sweeps.",
        "structure": "PyTorch traced on fake tensors: FLOPs, traffic and memory, exact.",
        "torch": "Real torch.distributed runs on this machine.",
        "sharding": "Plans of operator graphs on real DTensors.",
        "ablation": "What each effect of the model is worth on published runs.",
        "report": "The page on accuracy and the README's table, from all of these.",
    }
)


class _Kinds(click.Group):
    """Commands by name, from ``planner.cli.validate_<name>``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in KINDS:
            return None
        found = importlib.import_module(f"planner.cli.validate_{cmd_name}").command
        if not isinstance(found, click.Command):
            raise TypeError(f"planner.cli.validate_{cmd_name}.command is no click command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in KINDS and not name.startswith("-"):
            raise click.UsageError(f"no data of kind '{name}'; {suggest(name, KINDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Data"):
            formatter.write_dl(list(KINDS.items()))


@click.group(cls=_Kinds, name="validate")
def command() -> None:
    """Compare predictions with published runs, measured kernels or collectives, and real PyTorch."""
