"""``plan validate torch``: real torch.distributed runs of layouts against one process and against the prediction."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from planner.cli.options import output_options
from planner.cli.output import Output, ProgressCall, check_target
from planner.errors import NoAnswerError, PlannerError

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.real_runs.cases import Case
    from planner.validation.real_runs.timing import TimedStep

MOST_PROCESSES = 8


@dataclass(frozen=True)
class _Request:
    """The command line."""

    plans: tuple[str, ...]
    short: bool
    names: tuple[str, ...]
    no_time: bool
    only_time: bool
    steps: str
    device: Literal["cpu", "cuda"]
    calibration: str | None
    calibrations: str | None
    scale_down: str | None
    plot: str | None


@click.command(name="torch")
@click.argument("plans", metavar="[PLAN...]", nargs=-1, type=click.Path())
@click.option("--short", is_flag=True, help="Only the cases of the short form, untimed.")
@click.option("--case", "names", metavar="NAME", multiple=True, help="Only these built-in cases.")
@click.option("--no-time", is_flag=True, help="Loss, gradients and bytes only.")
@click.option("--only-time", is_flag=True, help="Step times (on a GPU memory too) only.")
@click.option("--steps", metavar="N", default="5", show_default=True, help="Timed steps of each case.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where steps are timed: on cuda, shapes of models on one GPU.",
)
@click.option("--calibration", metavar="FILE", help="Predict times from this file instead of calibrating.")
@click.option(
    "--calibrations", metavar="FOLDER", help="Keep the calibrations there, and use those that it holds."
)
@click.option(
    "--scale-down", metavar="N", help="Of each plan a small copy with the same axes on at most N processes."
)
@click.option("--plot", metavar="FILE", help="Draw predicted against measured time (.png, .svg, .pdf).")
@output_options
def command(output: Output, **request: Any) -> None:
    """Run layouts with real processes of this machine: the built-in lists, or those of plan files.

    Loss and gradients must equal one process's, and the calls and bytes must be the predicted ones (else exit code 1). Then
    this machine is calibrated and steps are timed beside their predictions. Times are shown, and judged by nobody: other work
    on the machine moves them.
    """
    _answer(output, _Request(**request))


def _answer(output: Output, request: _Request) -> None:
    from planner.calibration.measure.start import require_device
    from planner.report.real_runs import show_outcomes
    from planner.report.step_times import draw_times, show_times
    from planner.units import parse_count
    from planner.validation.real_runs.study import run_cases, to_json

    repeats = parse_count(request.steps, field="--steps")
    _check(request)
    require_device(request.device)
    equality, timed = _cases(output, request)
    started = time.perf_counter()
    with output.progress() as progress:
        outcomes = run_cases(equality, progress=progress) if equality else []
        steps = _times(request, timed, repeats, progress) if timed else []
    payload = to_json(equality, outcomes, steps, time.perf_counter() - started)

    def show(console: Console) -> None:
        show_outcomes(console, outcomes)
        show_times(console, steps)

    output.emit(payload, show)
    if request.plot is not None and steps:
        draw_times(request.plot, steps)
        output.note(f"picture: {request.plot}")
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    if failed:
        raise NoAnswerError(f"{len(failed)} of {len(outcomes)} cases differ: {', '.join(failed)}")


def _check(request: _Request) -> None:
    from planner.report.pictures import check_picture

    if request.only_time and (request.no_time or request.short):
        raise PlannerError("leaves nothing to run beside --no-time or --short", field="--only-time")
    if request.calibration is not None and request.calibrations is not None:
        raise PlannerError("a file or a folder, not both", field="--calibrations")
    if request.calibration is not None and not Path(request.calibration).is_file():
        raise PlannerError("no such file", file=request.calibration, field="--calibration")
    if request.plot is not None:
        check_picture(request.plot)
        check_target(request.plot)


def _cases(output: Output, request: _Request) -> tuple[Sequence[Case], Sequence[Case]]:
    """Cases whose loss, gradients and bytes are compared, and cases whose steps are timed."""
    from planner.units import parse_count
    from planner.validation.real_runs.cases import built_in, of_plans
    from planner.validation.real_runs.timing import LISTS

    equality: Sequence[Case]
    if request.plans:
        most = None if request.scale_down is None else parse_count(request.scale_down, field="--scale-down")
        equality = timed = of_plans(request.plans, MOST_PROCESSES, scale_down=most)
        for case in equality:
            if case.cuts:
                output.note(f"{case.name} scaled down: {'; '.join(map(str, case.cuts))}")
    else:
        equality = built_in(short=request.short)
        timed = built_in(LISTS[request.device], device=request.device)
        _require_known(request.names, [*equality, *timed])
        equality, timed = (
            [case for case in cases if not request.names or case.name in request.names]
            for cases in (equality, timed)
        )
    return [] if request.only_time else equality, [] if request.no_time or request.short else timed


def _require_known(names: Sequence[str], known: Sequence[Case]) -> None:
    from planner.errors import suggest

    for name in names:
        if name not in (case.name for case in known):
            hint = suggest(name, [case.name for case in known])
            raise PlannerError(f"no built-in case is called '{name}'; {hint}", field="--case")


def _times(request: _Request, cases: Sequence[Case], repeats: int, progress: ProgressCall) -> list[TimedStep]:
    """Built-in cases are predicted from a calibration of this machine, which is made where none is given; plans as they say."""
    from planner.validation.real_runs.timing import calibrations_for, priced_from, time_cases

    if request.plans:
        return time_cases(cases, repeats=repeats, device=request.device, progress=progress)
    with tempfile.TemporaryDirectory(prefix="plan-") as temporary:
        folder = Path(request.calibrations or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if request.calibration is None:
            files = calibrations_for(cases, folder, device=request.device, progress=progress)
        else:
            files = dict.fromkeys((case.processes for case in cases), Path(request.calibration))
        cases = priced_from(cases, files, request.device)
        return time_cases(cases, repeats=repeats, device=request.device, progress=progress)
