"""Entry point of ``plan``: a group whose commands are imported only when they are used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import click

from planner import __version__
from planner.errors import PlannerError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "search": "Rank the layouts of a job, fastest first, with proof.",
        "estimate": "Predict one layout of a job.",
        "simulate": "Run one plan as events: timeline, links, memory, critical path.",
        "sweep": "A table over many jobs: any field varied, restartable.",
        "place": "Axis orders, and which node plays which ranks on measured links.",
        "what-if": "What other hardware would change, and what a target takes.",
        "max": "The largest sequence, micro-batch or depth that fits.",
        "check": "Is a layout legal? Rules, rank groups, memory.",
        "compare": "Explain the difference between plans.",
        "validate": "Predictions against published runs, kernels and collectives.",
        "run": "Run a plan's layout for real on this machine.",
        "calibrate": "Fit the constants of the cost model to measured runs.",
        "shard": "Choose a sharding for every operator of a model graph.",
        "collective": "Expected time and bandwidth of a collective.",
        "hardware": "The catalogue of accelerators and clusters.",
        "models": "The catalogue of models.",
        "completion": "Print the completion script of a shell.",
    }
)

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports ``planner.cli.<name>`` (- as _) when one is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"planner.cli.{cmd_name.replace('-', '_')}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"planner.cli.{cmd_name}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from planner.errors import suggest

            raise click.UsageError(f"no command '{name}'; {suggest(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, name="plan", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plan")
def group() -> None:
    """Plan distributed training: from a cluster and a model to the fastest layout that fits in memory."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 1 no answer, 2 bad input or usage."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code. Bad input is one line on standard error, never a traceback."""
    try:
        result = group.main(
            args=None if arguments is None else list(arguments), prog_name="plan", standalone_mode=False
        )
        sys.stdout.flush()
    except PlannerError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left (plan ... | head). Python would complain again when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0
