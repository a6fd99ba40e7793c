"""``plan validate structure``: the reference trainer traced on fake tensors, against predictions, term by term."""

from __future__ import annotations

import time
from typing import Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import NoAnswerError


@click.command(name="structure")
@click.argument("plans", metavar="[PLAN...]", nargs=-1, type=click.Path())
@click.option("--short", is_flag=True, help="Only the cases of the short form.")
@click.option("--case", "names", metavar="NAME", multiple=True, help="Only these built-in cases.")
@click.option("--workers", metavar="N", default="1", show_default=True, help="Traces at a time.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Trace one rank's optimizer step in PyTorch without a device, and compare it with the prediction.

    FLOPs, collective calls with their bytes, and persistent bytes must be equal, the peak within 3 % (dense FSDP) or 5 %;
    else exit code 1. Plan files: the first and the last pipeline rank of each.
    """
    _answer(output, **request)


def _answer(
    output: Output, *, plans: tuple[str, ...], short: bool, names: tuple[str, ...], workers: str
) -> None:
    from planner.report.structure import show_outcomes
    from planner.units import parse_count
    from planner.validation.processes.launch import require_torch
    from planner.validation.structure.cases import built_in, of_plans
    from planner.validation.structure.study import run_cases

    at_a_time = parse_count(workers, field="--workers")
    require_torch()
    cases = of_plans(plans) if plans else built_in(short=short, names=names)
    started = time.perf_counter()
    with output.progress() as progress:
        outcomes = run_cases(cases, workers=at_a_time, progress=progress)
    passed = sum(outcome.passed for outcome in outcomes)
    payload = {
        "cases": [outcome.to_json() for outcome in outcomes],
        "passed": passed,
        "seconds": time.perf_counter() - started,
    }
    output.emit(payload, lambda console: show_outcomes(console, outcomes))
    if passed < len(outcomes):
        failed = ", ".join(outcome.name for outcome in outcomes if not outcome.passed)
        raise NoAnswerError(f"{len(outcomes) - passed} of {len(outcomes)} cases differ: {failed}")
