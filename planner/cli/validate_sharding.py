"""``plan validate sharding``: plans of operator graphs, run on real DTensors."""

from __future__ import annotations

import time
from typing import Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import NoAnswerError


@click.command(name="sharding")
@click.argument("models", metavar="[MODEL...]", nargs=-1)
@click.option(
    "--mesh",
    "meshes",
    metavar="NxM",
    multiple=True,
    help="Local processes, e.g. 4 or 2x2 (default: 2, 4, 2x2).",
)
@click.option(
    "--plan",
    "plans",
    metavar="NAME",
    multiple=True,
    help="ilp, two rules, data parallel, greedy, replicated, or a file of plan shard -o.",
)
@click.option(
    "--random",
    "at_random",
    metavar="N",
    default="0",
    show_default=True,
    help="Plans made at random, besides.",
)
@output_options
def command(output: Output, **request: Any) -> None:
    """Run shardings of models on local processes: DTensors under gloo, forward and backward.

    Outputs and all gradients must equal one process's in 64 bits; every rank's collectives must be those that the plan
    prices, in number and bytes; else exit code 1. MODEL: MODEL.py:FUNCTION, a .pt2 or an .onnx file; without any, the six
    examples.
    """
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    models: tuple[str, ...],
    meshes: tuple[str, ...],
    plans: tuple[str, ...],
    at_random: str,
) -> None:
    from planner.report.sharding_runs import outcome_json, show_runs
    from planner.units import parse_count
    from planner.validation.processes.launch import require_torch
    from planner.validation.sharding.cases import PLANS, built_in_models, cases
    from planner.validation.sharding.study import run_shardings

    count = parse_count(at_random, field="--random")
    require_torch()
    started = time.perf_counter()
    with output.progress() as progress:
        found = cases(
            models or built_in_models(),
            meshes or ("2", "4", "2x2"),
            plans or PLANS,
            at_random=count,
            progress=progress,
        )
        done = iter(range(1, len(found) + 1))
        progress(0.0, f"running {len(found)} plans")
        runs = [case.run for case in found]
        outcomes = run_shardings(runs, on_end=lambda _: progress(next(done) / len(found), "running plans"))
    rows = [outcome_json(case, outcome) for case, outcome in zip(found, outcomes, strict=True)]
    passed = sum(row["passed"] for row in rows)
    payload = {"runs": rows, "passed": passed, "seconds": time.perf_counter() - started}
    output.emit(payload, lambda console: show_runs(console, rows))
    if passed < len(rows):
        raise NoAnswerError(
            f"{len(rows) - passed} of {len(rows)} plans differ from one process or from what was priced"
        )
