"""Whatever is wrong and through whichever command it enters: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli.main import main
from tests.cli.bad_inputs.case import Case
from tests.cli.bad_inputs.clusters_and_models import CLUSTERS, MODELS
from tests.cli.bad_inputs.jobs import FILES, JOBS
from tests.cli.bad_inputs.layouts_and_commands import COMMANDS, LAYOUTS

CASES = (*FILES, *JOBS, *CLUSTERS, *MODELS, *LAYOUTS, *COMMANDS)
IN_A_PROCESS = (
    "alias bomb",
    "tag that would run Python",
    "infinite bandwidth",
    "truncated JSON",
    "tp that does not divide the heads",
    "plan whose job is faulty",
)
DOORS = ("estimate", "check", "search", "collective", "hardware", "models", "max", "compare")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(arguments: list[str]) -> Result:
    """``plan`` in this process, with its exit code and what it printed."""
    import click

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def entry(rest: tuple[str, ...]) -> None:
        main(rest)

    return CliRunner().invoke(entry, ["--", *arguments])


def prepare(case: Case, folder: Path) -> None:
    for name, content in case.files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def check(case: Case, folder: Path, code: int, out: str, err: str) -> None:
    assert code == 2, err
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert len(err) < 1500
    place = ": ".join(part for part in (case.place, case.field) if part)
    # A file of the command line is named by its full path where the command resolves it.
    assert err.replace(f"{folder}/", "").startswith(f"error: {place}")
    assert case.words in err
    assert {path.name for path in folder.iterdir()} == set(case.files)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_line(case: Case, folder: Path) -> None:
    prepare(case, folder)
    result = invoke(case.argv.split(" "))
    assert isinstance(result.exception, SystemExit)
    check(case, folder, result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_bad_input_in_a_process_of_its_own(name: str, folder: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    prepare(case, folder)
    command = [sys.executable, "-m", "planner.cli", *case.argv.split(" ")]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    check(case, folder, done.returncode, done.stdout, done.stderr)


def test_cases_cover_every_door_and_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 100
    assert {case.argv.split(" ")[0] for case in CASES} == set(DOORS)


@pytest.mark.parametrize("door", ["estimate", "search", "max", "check"])
def test_the_sound_originals_are_accepted(door: str, folder: Path) -> None:
    """The documents that the cases spoil are sound: it is the fault of the case that is found."""
    from tests.cli.bad_inputs.case import CLUSTER, JOB, MODEL, edited

    files: Mapping[str, str] = {
        "job.yaml": edited(edited(JOB, "h100-superpod", "./cluster.yaml"), "llama3-8b", "./model.yaml")
        .replace("4096", "1024")
        .replace("{tp: 8}", "{tp: 8, pp: 2, schedule: 1f1b, zero_stage: 1}"),
        "cluster.yaml": CLUSTER,
        "model.yaml": MODEL,
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    options = [] if door == "search" else ["--layout", "tp=8,pp=2"]
    assert invoke([door, "job.yaml", *options]).exit_code == 0
