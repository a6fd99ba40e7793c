"""``plan run PLAN --local``: the layout of a plan as a real torch.distributed job on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.validation.real_runs.local import LocalRun


@click.command(name="run")
@click.argument("plan", metavar="PLAN", type=click.Path())
@click.option("--local", is_flag=True, help="On this machine, under torchrun (the only place so far).")
@click.option(
    "--steps", metavar="N", default="5", show_default=True, help="Optimizer steps, and as many timed ones."
)
@click.option(
    "--dtype",
    type=click.Choice(["job", "fp64"]),
    default="job",
    show_default=True,
    help="fp64: all in 64 bits.",
)
@click.option("--processes", metavar="N", help="Must be what the plan needs; a check for scripts.")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="gloo or NCCL."
)
@click.option("--port", metavar="N", help="Of the rendezvous; default: a free one.")
@click.option(
    "--scale-down",
    metavar="N",
    help="Run a small copy with the same axes on at most N processes; says what was cut.",
)
@click.option("-o", "target", metavar="FILE", help="Write the answer as JSON.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Train a few steps of a plan's model on synthetic tokens: loss, step time, bytes sent, beside the prediction."""
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    plan: str,
    local: bool,
    steps: str,
    dtype: str,
    processes: str | None,
    device: str,
    port: str | None,
    scale_down: str | None,
    target: str | None,
) -> None:
    from planner.documents import write_text
    from planner.report.local_run import show_run
    from planner.units import parse_count
    from planner.validation.real_runs.local import run_plan

    if not local:
        raise click.UsageError("add --local: a plan runs on this machine only")
    check_target(target)
    count = parse_count(steps, field="--steps")
    if count < 1:
        raise PlannerError(f"found '{steps}'; at least 1", field="--steps")
    with output.progress() as progress:
        progress(0.0, "running")
        run: LocalRun = run_plan(
            plan,
            steps=count,
            double=dtype == "fp64",
            device=device,
            processes=None if processes is None else parse_count(processes, field="--processes"),
            port=None if port is None else parse_count(port, field="--port"),
            scale_down=None if scale_down is None else parse_count(scale_down, field="--scale-down"),
        )
    payload = run.to_json()
    if target is not None:
        import json

        write_text(target, json.dumps(payload, indent=2) + "\n")
        output.note(f"written: {target}")
    output.emit(payload, lambda console: show_run(console, run))
