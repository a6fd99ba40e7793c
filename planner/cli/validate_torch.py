"""``plan validate torch``: real torch.distributed runs of layouts against one process and against the prediction."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import NoAnswerError, PlannerError

if TYPE_CHECKING:
    from planner.validation.real_runs.cases import Case

MOST_PROCESSES = 8


@click.command(name="torch")
@click.argument("plans", metavar="[PLAN...]", nargs=-1, type=click.Path())
@click.option("--short", is_flag=True, help="Only the cases of the short form.")
@click.option("--case", "names", metavar="NAME", multiple=True, help="Only these built-in cases.")
@click.option("--no-time", is_flag=True, help="Loss, gradients and bytes only.")
@click.option("--steps", metavar="N", default="5", show_default=True, help="Timed steps of each case.")
@click.option(
    "--calibration", metavar="FILE", help="Of this machine, by `plan calibrate device` and `network`."
)
@click.option(
    "--scale-down", metavar="N", help="Of each plan a small copy with the same axes on at most N processes."
)
@click.option("--plot", metavar="FILE", help="Draw predicted against measured time (.png, .svg, .pdf).")
@output_options
def command(output: Output, **request: Any) -> None:
    """Run layouts with real processes of this machine: the built-in list, or those of plan files.

    Loss and gradients must equal one process's, and the calls and bytes must be the predicted ones (else exit code 1).
    Times are shown, and judged by nobody: other work on the machine moves them.
    """
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    plans: tuple[str, ...],
    short: bool,
    names: tuple[str, ...],
    no_time: bool,
    steps: str,
    calibration: str | None,
    scale_down: str | None,
    plot: str | None,
) -> None:
    from planner.report.real_runs import draw_times, show_outcomes
    from planner.units import parse_count
    from planner.validation.processes.launch import require_torch
    from planner.validation.real_runs.cases import of_plans
    from planner.validation.real_runs.study import run_cases, to_json
    from planner.validation.real_runs.times import time_score

    timed = 0 if no_time else parse_count(steps, field="--steps")
    if plot is not None:
        from planner.report.pictures import check_picture

        check_picture(plot)
        check_target(plot)
    require_torch()
    most = None if scale_down is None else parse_count(scale_down, field="--scale-down")
    cases = of_plans(plans, MOST_PROCESSES, scale_down=most) if plans else _cases(short, names, calibration)
    for case in cases:
        if case.cuts:
            output.note(f"{case.name} scaled down: {'; '.join(map(str, case.cuts))}")
    started = time.perf_counter()
    with output.progress() as progress:
        outcomes = run_cases(cases, timed=timed, progress=progress)
    score = time_score(cases, outcomes) if timed else None
    payload = to_json(cases, outcomes, score, time.perf_counter() - started)
    output.emit(payload, lambda console: show_outcomes(console, outcomes, score))
    if plot is not None and timed:
        draw_times(plot, outcomes)
        output.note(f"picture: {plot}")
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    if failed:
        raise NoAnswerError(f"{len(failed)} of {len(outcomes)} cases differ: {', '.join(failed)}")


def _cases(short: bool, names: tuple[str, ...], calibration: str | None) -> list[Case]:
    from planner.errors import suggest
    from planner.validation.real_runs.cases import built_in

    known = built_in(short=short, calibration=None if calibration is None else os.path.abspath(calibration))
    for name in names:
        if name not in (case.name for case in known):
            hint = suggest(name, (case.name for case in known))
            raise PlannerError(f"no built-in case is called '{name}'; {hint}", field="--case")
    return [case for case in known if not names or case.name in names]
