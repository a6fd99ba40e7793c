"""``plan completion``: the script that teaches a shell to complete ``plan``."""

from __future__ import annotations

import click

from planner.cli.options import output_options
from planner.cli.output import Output

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@output_options
def command(shell: str, output: Output) -> None:
    """Print the completion script of SHELL.

    bash: eval "$(plan completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc;
    fish: plan completion fish > ~/.config/fish/completions/plan.fish
    """
    from click.shell_completion import get_completion_class

    from planner.cli.main import group

    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"no completion for {shell}")
    script = completer(group, {}, "plan", "_PLAN_COMPLETE").source()
    if output.as_json:
        output.emit({"shell": shell, "script": script}, lambda console: None)
    else:
        click.echo(script)
