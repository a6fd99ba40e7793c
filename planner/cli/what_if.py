"""``plan what-if``: what other hardware would change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import LoadedJob, job_options, layout_option, output_options
from planner.cli.output import Output, ProgressCall, check_target

if TYPE_CHECKING:
    from rich.console import Console

    from planner.studies.what_if import Effect, Question, Target, Vary


def _questions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what is asked."""
    options = (
        click.option(
            "--step",
            metavar="FRACTION",
            default="10%",
            show_default=True,
            help="Improvement of each figure in the overview.",
        ),
        click.option(
            "--change",
            "changes",
            metavar="FIGURE=CHANGE",
            multiple=True,
            help="What if: memory_bandwidth=+10%, nvlink.bandwidth=2x, memory=141 GB; several with commas.",
        ),
        click.option("--target", metavar="TIME", help="What each figure must become for this step time."),
        click.option("--speedup", metavar="FRACTION", help="The same for so many more tokens per second."),
        click.option(
            "--price",
            "prices",
            metavar="FIGURE=MONEY",
            multiple=True,
            help="With a target: what as much again of a figure costs; the cheapest comes first.",
        ),
        click.option(
            "--vary",
            "varied",
            metavar="FIGURE=FROM..TO",
            help="Where the best layout switches, e.g. memory_bandwidth=0.5x..4x.",
        ),
        click.option("--plot", "picture", metavar="PNG", help="With --vary: draw it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class _Answers:
    """What was asked for, and nothing else."""

    question: Question
    sensitivity: tuple[Effect, ...] | None
    changes: tuple[Effect, ...] | None
    target: Target | None
    vary: Vary | None

    def to_json(self) -> dict[str, Any]:
        question = self.question
        from planner.layouts.knobs import layout_to_knobs

        result: dict[str, Any] = {
            "now": {"layout": layout_to_knobs(question.kept), "step_time_s": question.step_time_s},
            "best_now": {
                "layout": layout_to_knobs(question.best.layout),
                "step_time_s": question.best.step_time_s,
            },
        }
        for name in ("sensitivity", "changes"):
            effects = getattr(self, name)
            if effects is not None:
                result[name] = [effect.to_json() for effect in effects]
        if self.target is not None:
            result["target"] = self.target.to_json()
        if self.vary is not None:
            result["vary"] = self.vary.to_json()
        return result


@click.command("what-if")
@job_options
@layout_option
@_questions
@output_options
def command(
    loaded: LoadedJob,
    layout: str | None,
    step: str,
    changes: tuple[str, ...],
    target: str | None,
    speedup: str | None,
    prices: tuple[str, ...],
    varied: str | None,
    picture: str | None,
    output: Output,
) -> None:
    """How the best plan of JOB (a job or plan file) changes with the hardware.

    Without an option: each figure better by 10 %, with the layout kept and with the best one searched again. --change asks about
    changes of your own, --target and --speedup what each figure must become, --vary where the best layout switches.
    """
    if picture is not None and varied is None:
        raise click.UsageError("--plot draws a figure that varies: give --vary too")
    if target is not None and speedup is not None:
        raise click.UsageError("--target and --speedup exclude each other")
    if prices and target is None and speedup is None:
        raise click.UsageError("--price belongs to --target or --speedup")
    _check_picture(picture)
    with output.progress() as progress:
        answers = _answer(loaded, layout, _Wanted(step, changes, target, speedup, prices, varied), progress)
    if picture is not None and answers.vary is not None:
        from planner.report.what_if_plot import draw_vary

        draw_vary(picture, answers.vary)

    def render(console: Console) -> None:
        _print(console, loaded, answers, output)
        if picture is not None:
            console.print(f"picture written to {picture}")

    output.emit(answers.to_json(), render)
    if answers.target is not None and answers.target.unreachable:
        click.get_current_context().exit(1)


def _check_picture(picture: str | None) -> None:
    """Refuse a file that cannot be drawn before the searches begin."""
    check_target(picture)
    if picture is not None:
        from planner.report.pictures import check_picture

        check_picture(picture)


@dataclass(frozen=True)
class _Wanted:
    """The questions as the user wrote them."""

    step: str
    changes: tuple[str, ...]
    target: str | None
    speedup: str | None
    prices: tuple[str, ...]
    varied: str | None

    @property
    def overview(self) -> bool:
        return not (self.changes or self.target or self.speedup or self.varied)


def _answer(loaded: LoadedJob, layout: str | None, wanted: _Wanted, progress: ProgressCall) -> _Answers:
    """Read all options before the first search, then answer them."""
    from planner.studies.what_if import (
        ask,
        effects_of,
        needs_for,
        parse_change,
        parse_prices,
        parse_range,
        standard_changes,
        vary,
    )
    from planner.units import parse_quantity

    job = loaded.job
    kept = loaded.layout(layout) if layout is not None or loaded.plan is not None else None
    own = [parse_change(job, text) for text in wanted.changes]
    prices = parse_prices(job, wanted.prices)
    span = None if wanted.varied is None else parse_range(job, wanted.varied)
    step = _step(wanted.step)
    target_s, faster = wanted.target, wanted.speedup
    within = parse_quantity(target_s, "s", field="--target", allow_zero=False) if target_s else None
    gain = parse_quantity(faster, "1", field="--speedup", allow_zero=False) if faster else None
    progress(0.0, "the best layout now")
    question = ask(job, kept)
    if gain is not None:
        within = question.step_time_s / (1.0 + gain)
    return _Answers(
        question,
        effects_of(question, standard_changes(job, step), progress) if wanted.overview else None,
        effects_of(question, own, progress) if own else None,
        None if within is None else needs_for(question, within, prices, progress),
        None if span is None else vary(question, *span, progress),
    )


def _step(text: str) -> float:
    """The improvement of the overview, between 0 and 1."""
    from planner.errors import PlannerError
    from planner.units import parse_quantity

    step = parse_quantity(text.lstrip("+"), "1", field="--step", allow_zero=False)
    if step >= 1.0:
        raise PlannerError(f"found '{text}'; accepted: below 100 %, for example 10%", field="--step")
    return step


def _print(console: Console, loaded: LoadedJob, answers: _Answers, output: Output) -> None:
    from planner.jobs.figures import figures
    from planner.report.ranking import job_line
    from planner.report.what_if import now_lines, print_effects, print_target, print_vary

    known = figures(loaded.job)
    if not output.quiet:
        console.print(job_line(loaded.job))
    console.print(*now_lines(answers.question), "", sep="\n")
    if answers.sensitivity is not None:
        print_effects(console, answers.sensitivity, known, sort=True)
    if answers.changes is not None:
        print_effects(console, answers.changes, known, sort=False)
    if answers.target is not None:
        print_target(console, answers.target)
    if answers.vary is not None:
        print_vary(console, answers.vary)
