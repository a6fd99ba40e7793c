"""``plan validate report``: the page on accuracy and the README's table, from all validation commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.cli.output import ProgressCall
    from planner.report.accuracy.sources import Json, Sources

PAGE, NOTES = "accuracy.md", "accuracy-notes.yaml"


@click.command(name="report")
@click.option("--runs", metavar="PATH", multiple=True, required=True, help="Published runs.")
@click.option("--kernels", metavar="PATH", multiple=True, required=True, help="Measured kernels.")
@click.option("--collectives", metavar="PATH", multiple=True, required=True, help="Measured collectives.")
@click.option(
    "--left-out", metavar="FILE", help="Left-out predictions; default: beside the catalogue's calibration."
)
@click.option("--ablation", metavar="FILE", help="Answer of `plan validate ablation --json`.")
@click.option(
    "--docs", metavar="FOLDER", required=True, help=f"Where {PAGE}, its pictures and {NOTES} stand."
)
@click.option("--readme", metavar="FILE", help="Renew the table between its marks.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Run all validations and write the page on accuracy: errors as they are, with reasons from the notes beside it."""
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    runs: tuple[str, ...],
    kernels: tuple[str, ...],
    collectives: tuple[str, ...],
    left_out: str | None,
    ablation: str | None,
    docs: str,
    readme: str | None,
) -> None:
    from planner.documents import write_text
    from planner.report.accuracy.page import accuracy_page, renewed_readme

    folder = Path(docs)
    if not folder.is_dir():
        raise PlannerError(f"'{docs}' is no folder", field="--docs")
    text = None if readme is None else _text(readme)
    pictures = {kind: f"accuracy-{kind}.png" for kind in ("runs", "kernels", "collectives")}
    paths = {"runs": runs, "kernels": kernels, "collectives": collectives}
    calls = {
        kind: [kind, *paths[kind], "--plot", str(folder / picture)] for kind, picture in pictures.items()
    } | {"priors": ["runs", *runs, "--priors"]}
    stored = _stored(left_out, ablation)
    with output.progress() as progress:
        sources = _sources(_answers(calls, progress), stored, folder)
    page = accuracy_page(sources, pictures)
    renewed = None if text is None or readme is None else renewed_readme(text, sources, readme)
    write_text(folder / PAGE, page)
    if readme is not None and renewed is not None:
        write_text(readme, renewed)
    written = [
        str(folder / PAGE),
        *(str(folder / picture) for picture in pictures.values()),
        *([readme] if readme else []),
    ]
    output.emit({"written": written}, lambda console: console.print(*written, sep="\n"))


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise PlannerError("cannot be read", file=file) from None


def _stored(left_out: str | None, ablation: str | None) -> tuple[Json | None, Json | None]:
    """Answers that earlier commands wrote."""
    from planner.hardware.calibration import default_calibration
    from planner.report.accuracy.sources import read_json

    chosen = None if left_out is None else Path(left_out)
    folder = default_calibration()
    if chosen is None and folder is not None:
        chosen = next(iter(sorted(folder.glob("*.left-out.json"))), None)
    return (
        None if chosen is None else read_json(chosen),
        None if ablation is None else read_json(ablation),
    )


def _sources(answers: Mapping[str, Json], stored: tuple[Json | None, Json | None], folder: Path) -> Sources:
    from planner.hardware.calibration import default_calibration, load_calibration
    from planner.report.accuracy.sources import Sources, read_notes

    path = default_calibration()
    calibration = None if path is None else load_calibration(path)
    parts = () if calibration is None else calibration.parts or (calibration,)
    return Sources(
        runs=answers["runs"],
        priors=answers["priors"],
        kernels=answers["kernels"],
        collectives=answers["collectives"],
        left_out=stored[0],
        ablation=stored[1],
        calibrations=[part.model_dump(mode="json") for part in parts],
        notes=read_notes(folder / NOTES),
    )


def _answers(calls: Mapping[str, Sequence[str]], progress: ProgressCall) -> dict[str, Json]:
    """JSON of ``plan validate ...`` by name, each a process of its own, as many at a time as there are cores."""
    answers: dict[str, Json] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        running = {pool.submit(_ask, arguments): name for name, arguments in calls.items()}
        for done, future in enumerate(as_completed(running)):
            answers[running[future]] = future.result()
            progress((done + 1) / len(calls), f"validated {running[future]}")
    return answers


def _ask(arguments: Sequence[str]) -> Json:
    call = [sys.executable, "-m", "planner.cli", "validate", *arguments, "--json", "--quiet"]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        message = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise PlannerError(f"`plan validate {arguments[0]}` failed: {message[0].removeprefix('error: ')}")
    answer: Json = json.loads(ended.stdout)
    return answer
