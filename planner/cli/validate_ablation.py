"""``plan validate ablation``: what each effect of the cost model is worth on published runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import PlannerError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.calibration.fit.problem import Problem
    from planner.hardware.calibration import Calibration
    from planner.validation.ablation.effects import Effect


@click.command(name="ablation")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--effect", "names", metavar="NAME", multiple=True, help="Only without this effect, e.g. bubble."
)
@click.option("--family", "families", metavar="NAME", multiple=True, help="Only these families of rows.")
@click.option("--calibration", metavar="FILE", help="Fitted constants instead of the catalogue's.")
@click.option(
    "--stiffness",
    metavar="SHARE",
    default="3%",
    show_default=True,
    help="Of the priors when constants are fitted again; see `plan calibrate fit`.",
)
@click.option("--workers", metavar="N", help="Processes; default: one per core.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Errors on published runs without one effect at a time: constants kept, fitted again, and with models left out."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # processes share the cores out among themselves
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    paths: tuple[str, ...],
    names: tuple[str, ...],
    families: tuple[str, ...],
    calibration: str | None,
    stiffness: str,
    workers: str | None,
) -> None:
    from planner.report.ablation import ablation_json, show_ablation
    from planner.units import parse_count, parse_quantity
    from planner.validation.ablation.study import ablate, position_of

    effects = _effects(names)
    share = parse_quantity(stiffness, "1", field="--stiffness")
    processes = None if workers is None else max(1, parse_count(workers, field="--workers"))
    fitted = _calibration(calibration)
    started = time.perf_counter()
    with output.progress() as progress:
        problem = _problem(paths, families)
        position = position_of(problem, fitted)
        found = ablate(problem, position, effects, stiffness=share, workers=processes, progress=progress)
    answer = ablation_json(found, time.perf_counter() - started)
    output.emit(answer, lambda console: show_ablation(console, answer, quiet=output.quiet))
    output.note(f"{len(problem.measurements)} rows, {len(effects)} effects in {answer['seconds']:.0f} s")


def _effects(names: Sequence[str]) -> list[Effect]:
    from planner.validation.ablation.effects import EFFECTS

    known = {effect.name: effect for effect in EFFECTS}
    for name in names:
        if name not in known:
            raise PlannerError(f"no effect '{name}'; {suggest(name, known)}", field="--effect")
    return [known[name] for name in names or known]


def _problem(paths: Sequence[str], families: Sequence[str]) -> Problem:
    from planner.calibration.fit.problem import build_problem
    from planner.cli.validate_runs import chosen_rows
    from planner.validation.runs.votes import load_votes

    problem = build_problem(chosen_rows(paths, families), load_votes())
    if not problem.measurements:
        raise PlannerError("no complete row measured a step time, so nothing can be compared")
    return problem


def _calibration(named: str | None) -> Calibration:
    from planner.hardware.calibration import default_calibration, load_calibration

    path = default_calibration() if named is None else Path(named)
    if path is None:
        raise PlannerError("the catalogue holds no calibration; name one", field="--calibration")
    return load_calibration(path)
