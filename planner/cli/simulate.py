"""``plan simulate``: run one plan as events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output, ProgressCall, check_target
from planner.cli.simulate_options import engine_options, failure_flags, file_options, perturbation_options
from planner.errors import PlannerError

if TYPE_CHECKING:
    from rich.console import Console

    from planner.jobs.prediction import Prediction
    from planner.report.simulation_files import Files
    from planner.simulator.analysis.causes import Cause
    from planner.simulator.analysis.summary import Analysis
    from planner.simulator.failures.options import FailureOptions
    from planner.simulator.failures.result import FailureStudy
    from planner.simulator.options import SimulationOptions
    from planner.simulator.simulation import Simulation

MOST_REPEATED = 500_000
"""Tasks of a simulation above which it is not repeated to find what sets it apart from the estimate."""


@click.command("simulate")
@job_options
@layout_option
@file_options
@engine_options
@perturbation_options
@failure_flags
@output_options
def command(
    loaded: LoadedJob,
    layout: str | None,
    files: Files,
    ask: bool,
    perturbed: Callable[..., Any],
    fails: Callable[[str], FailureOptions] | None,
    failure_plot: str | None,
    seed: str,
    output: Output,
    **engine: Any,
) -> None:
    """Simulate one step of a plan (PLAN, or JOB with --layout): time, bubbles, links, memory, critical path."""
    _check_targets(files, failure_plot)
    failure_options = fails(seed) if fails is not None else None
    options = _options(perturbed(loaded.job), **engine)
    with output.progress() as progress:
        answer = _simulate(loaded, layout, options, ask, output, progress)
        if failure_options is not None:
            answer = _study(answer, failure_options, progress)
        progress(0.99, "writing files")
        written = files.write(answer.simulation, answer.analysis, answer.simulated)
        if failure_plot is not None and answer.study is not None:
            written.append(_draw_failures(failure_plot, answer))

    def render(console: Console) -> None:
        _print(console, loaded, answer, output)
        for line in written:
            console.print(line)

    output.emit(answer.to_json(), render)


@dataclass(frozen=True, eq=False)
class Answer:
    """Everything that one call of the command found out."""

    simulation: Simulation
    analysis: Analysis
    simulated: Prediction
    estimate: Prediction | None
    causes: Sequence[Cause]
    study: FailureStudy | None = None

    def to_json(self) -> dict[str, Any]:
        """The simulated prediction, and what only a simulation knows."""
        from planner.simulator.analysis.summary import analysis_json

        found: dict[str, Any] = analysis_json(self.simulation, self.analysis)
        found["estimate_s"] = None if self.estimate is None else self.estimate.step_time_s
        found["causes"] = [{"cause": item.name, "seconds": item.seconds} for item in self.causes]
        payload = {**self.simulated.to_json(), "simulation": found}
        if self.study is not None:
            payload["failures"] = self.study.to_json()
        return payload


def _check_targets(files: Files, failure_plot: str | None) -> None:
    """Refuse files that cannot be written before the simulation begins."""
    from planner.report.pictures import check_picture

    for path in (*files.named, failure_plot):
        check_target(path)
    files.check()
    if failure_plot is not None:
        check_picture(failure_plot)


def _options(
    perturbations: Any,
    *,
    merge: Any,
    no_sharing: bool,
    no_slowdown: bool,
    detail: Any,
    lengths: str | None,
) -> SimulationOptions:
    from planner.simulator.options import SimulationOptions

    return SimulationOptions(
        merge=merge,
        sharing=not no_sharing,
        slowdown=not no_slowdown,
        detail=detail,
        perturbations=perturbations,
        lengths=None if lengths is None else _lengths(lengths),
    )


def _lengths(path: str) -> tuple[int, ...]:
    from planner.jobs.lengths import read_lengths

    try:
        return tuple(read_lengths(Path(path)))
    except PlannerError as error:
        raise PlannerError(error.message, field="--lengths") from None


def _simulate(
    loaded: LoadedJob,
    layout_text: str | None,
    options: SimulationOptions,
    ask: bool,
    output: Output,
    progress: ProgressCall,
) -> Answer:
    from planner.costs.pipeline import CLOSED_FORMS
    from planner.costs.predict import predict
    from planner.simulator.analysis.causes import causes
    from planner.simulator.analysis.summary import analyse
    from planner.simulator.prediction import to_prediction
    from planner.simulator.simulation import simulate

    layout = loaded.layout(layout_text)
    progress(0.0, "simulating")
    simulation = simulate(loaded.job, layout, options)
    progress(0.4, "analysing")
    analysis = analyse(simulation, ask=ask, progress=_part(progress, 0.4, 0.7))
    estimate = predict(loaded.job, layout) if layout.schedule in CLOSED_FORMS else None
    found: tuple[Cause, ...] = ()
    if estimate is not None:
        if len(simulation.program.tasks) <= MOST_REPEATED:
            found = causes(simulation, estimate.step_time_s, _part(progress, 0.7, 0.9))
        else:
            output.note(
                "note: too many tasks to repeat; what sets the simulation apart from the estimate is left out"
            )
    return Answer(simulation, analysis, to_prediction(simulation), estimate, found)


def _part(progress: ProgressCall, low: float, high: float) -> ProgressCall:
    """A progress call for one part of the work."""
    return lambda done, message: progress(low + done * (high - low), message)


def _study(answer: Answer, options: FailureOptions, progress: ProgressCall) -> Answer:
    from planner.simulator.failures.study import study

    simulated = answer.simulated
    found = study(
        answer.simulation.job,
        simulated.step_time_s,
        options,
        mfu=simulated.mfu,
        progress=_part(progress, 0.9, 0.98),
    )
    with_failures = dataclasses.replace(
        simulated, goodput=found.goodput, expected_step_time_s=found.expected_step_time_s
    )
    return dataclasses.replace(answer, simulated=with_failures, study=found)


def _draw_failures(path: str, answer: Answer) -> str:
    from planner.report.failures import draw_failures
    from planner.report.simulation_files import title_of

    if answer.study is not None:
        draw_failures(path, answer.study, title_of(answer.simulation))
    return f"goodput picture written to {path}"


def _print(console: Console, loaded: LoadedJob, answer: Answer, output: Output) -> None:
    from planner.report.failures import print_failures
    from planner.report.ranking import job_line, ranking_table
    from planner.report.simulation import print_simulation

    console.print(job_line(loaded.job))
    if output.quiet:
        console.print(ranking_table([answer.simulated], width=console.width))
        return
    print_simulation(
        console, answer.simulation, answer.analysis, answer.simulated, answer.estimate, answer.causes
    )
    if answer.study is not None:
        console.print()
        console.print("Node failures", style="bold")
        print_failures(console, answer.study)
