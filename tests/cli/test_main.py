"""The command line: imports only what it uses, answers bad input in one line, keeps its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from planner import __version__
from planner.cli import main as entry
from planner.cli.main import COMMANDS, group, run
from planner.errors import NoAnswerError, PlannerError

HEAVY = ("numba", "scipy", "numpy", "pydantic", "matplotlib", "networkx", "rich", "pint", "ruamel")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from planner.cli.main import run; run(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_the_common_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert name in text
    command = group.get_command(click.Context(group), name)
    if isinstance(command, click.Group):
        for inner in command.list_commands(click.Context(command)):
            assert run([name, inner, "--help"]) == 0
            text = capsys.readouterr().out
            assert "--json" in text
            assert "--quiet" in text
    else:
        assert "--json" in text
        assert "--quiet" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch"], "did you mean 'search'?"),
        (["search"], "JOB"),
        (["search", "--tpo", "3", "job.yaml"], "--top"),
        (["search", "missing.yaml"], "missing.yaml: does not exist"),
        (["estimate", "missing.yaml", "--layout", "tp=1"], "missing.yaml"),
        (["compare", "one.yaml"], "at least two"),
        (["completion", "tcsh"], "bash"),
        (["hardware", "show", "h100-sxm-80g"], "did you mean 'h100-sxm-80gb'?"),
        (["models", "show", "llama3-70"], "did you mean 'llama3-70b'?"),
        (["estimate", "EXAMPLE"], "--layout"),
        (["estimate", "EXAMPLE", "--layout", "tpp=3"], "unknown knob"),
        (["estimate", "EXAMPLE", "--layout", "tp=3"], "3"),
        (["estimate", "EXAMPLE", "--layout", "tp=1", "--set", "training"], "KEY=VALUE"),
        (["estimate", "EXAMPLE", "--layout", "tp=1", "--set", "training.seq=4K"], "did you mean 'seq_len'?"),
        (["estimate", "EXAMPLE", "--layout", "tp=1", "--devices", "9"], "devices"),
        (["estimate", "EXAMPLE", "--layout", "tp=1", "--tokens", "many"], "training.tokens"),
        (["search", "EXAMPLE", "--gap", "-1"], "--gap"),
        (["search", "EXAMPLE", "--time-limit", "5 GB"], "--time-limit"),
        (["search", "EXAMPLE", "--top", "0"], "0"),
        (["max", "EXAMPLE", "--of", "width"], "seq_len"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], words: str, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = str(examples / "llama3-8b-h100.yaml")
    assert run([example if argument == "EXAMPLE" else argument for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (PlannerError("bad"), 2),
        (NoAnswerError("nothing fits"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_exit_codes(raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(entry.group, "main", fail)
    assert run([]) == code


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m planner.cli hardware list | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_colour_only_where_it_is_wanted(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "llama3-8b"]) == 0
    assert "\x1b[" not in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_PLAN_COMPLETE" in capsys.readouterr().out


def test_json_is_one_object_and_nothing_else(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["hardware", "list", "--json"],
        ["hardware", "show", "h100-superpod", "--json"],
        ["hardware", "show", "h100-sxm-80gb", "--json"],
        ["hardware", "show", "nvlink4", "--json"],
        ["models", "list", "--json"],
        ["models", "show", "mixtral-8x7b", "--json"],
        ["completion", "bash", "--json"],
        ["estimate", str(examples / "llama3-8b-h100.yaml"), "--layout", "zero_stage=3", "--json"],
    ):
        assert run(arguments) == 0
        captured = capsys.readouterr()
        assert isinstance(json.loads(captured.out), dict)
        assert captured.err == ""
