"""Progress, colour and completion."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from planner.cli import output as module
from planner.cli.output import Output, console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(output: Output) -> None:
    with output.progress() as progress:
        for done in (0.25, 0.5, 0.75):
            progress(done, "searching")


def test_no_progress_when_not_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOW_PROGRESS_AFTER_S", 0.0)
    work(Output(as_json=False, quiet=False))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("after_s", "quiet", "drawn"), [(0.0, False, True), (0.0, True, False), (3600.0, False, False)]
)
def test_progress_on_a_terminal_once_work_lasts(
    after_s: float, quiet: bool, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "SHOW_PROGRESS_AFTER_S", after_s)
    work(Output(as_json=True, quiet=quiet))
    assert ("searching" in terminal.getvalue()) is drawn


def test_json_goes_to_standard_output_and_notes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True, quiet=False)
    output.note("a note")
    output.emit({"é": [1.5, None]}, lambda console: None)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"é": [1.5, None]}
    assert captured.err == "a note\n"
    Output(as_json=True, quiet=True).note("unheard")
    assert capsys.readouterr().err == ""


def test_a_number_that_json_cannot_hold_is_a_defect() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Output(as_json=True, quiet=False).emit({"x": float("nan")}, lambda console: None)


def test_no_colour_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console().print("words", style="red")
    assert "\x1b[31m" in terminal.getvalue()
    plain = Terminal()
    monkeypatch.setattr(sys, "stdout", plain)
    monkeypatch.setenv("NO_COLOR", "1")
    console().print("words", style="red")
    assert "\x1b[31m" not in plain.getvalue()


@pytest.mark.parametrize(
    ("typed", "offered"), [("se", "search"), ("hardware s", "show"), ("max job --of m", "micro_batch")]
)
def test_shells_complete_commands_and_values(typed: str, offered: str) -> None:
    words = f"plan {typed}"
    environment = {
        **os.environ,
        "_PLAN_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "planner.cli"], env=environment, capture_output=True, text=True, check=True
    )
    assert f"plain,{offered}" in done.stdout.splitlines()
