"""Options of ``plan simulate``: what is simulated, what goes wrong, what is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.jobs.types import Job
    from planner.simulator.failures.options import FailureOptions
    from planner.simulator.perturbations import Perturbations

FAILURE_FLAGS = (
    ("mtbf", "TIME", "Mean time between failures of one device, e.g. '50000 h'."),
    ("checkpoint_interval", "TIME", "Work between two checkpoints (default: the best)."),
    ("checkpoint_seconds", "TIME", "How long a checkpoint stops the job (default: from its bytes)."),
    ("checkpoint_background", "TIME", "From then until the checkpoint is durable."),
    ("checkpoint_bandwidth", "RATE", "Of one node into the storage, e.g. '2 GB/s'."),
    ("detect", "TIME", "Until a failure is noticed."),
    ("restart", "TIME", "From then until the job trains again."),
    ("spares", "N", "Spare nodes (default: as many as needed)."),
    ("repair", "TIME", "Until a failed node is back."),
    ("days", "N", "Simulated days of each run."),
    ("runs", "N", "Simulated runs."),
)
"""Keyword of ``failure_options``, what its value is, what it means."""


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Files to write; the command receives ``files: Files``."""

    @click.option("--trace", metavar="FILE", help="Chrome trace for Perfetto (.json or .json.gz).")
    @click.option("--html", "page", metavar="FILE", help="The trace as a page that any browser opens.")
    @click.option("--timeline", metavar="PNG", help="Draw the step as coloured blocks.")
    @click.option(
        "--window", metavar="FROM-TO", help="Seconds of the step that the timeline shows, e.g. 0-2.5."
    )
    @click.option("--memory-plot", metavar="PNG", help="Draw memory over time by class.")
    @click.option(
        "--schedule-csv", "schedule", metavar="FILE", help="Write the schedule in PyTorch's CSV form."
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        trace: str | None,
        page: str | None,
        timeline: str | None,
        window: str | None,
        memory_plot: str | None,
        schedule: str | None,
        **kwargs: Any,
    ) -> Any:
        from planner.report.simulation_files import Files

        files = Files(trace, page, timeline, memory_plot, schedule, _window(window))
        return function(*args, files=files, **kwargs)

    return wrapped


def _window(text: str | None) -> tuple[float, float] | None:
    """Two times in seconds."""
    if text is None:
        return None
    from planner.units import parse_quantity

    first, _, last = text.partition("-")
    begin, end = (parse_quantity(part.strip() or "?", "s", field="--window") for part in (first, last))
    if begin >= end:
        raise PlannerError(
            f"found '{text}'; accepted: two times, the earlier first, such as 0-2.5", field="--window"
        )
    return begin, end


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is simulated how: ``merge``, ``no_sharing``, ``no_slowdown``, ``detail``, ``lengths`` and ``ask``."""
    decorators = (
        click.option(
            "--merge",
            type=click.Choice(["auto", "none"]),
            default="auto",
            show_default=True,
            help="Simulate devices that act alike once, or every device.",
        ),
        click.option("--no-sharing", is_flag=True, help="Transfers do not share links."),
        click.option("--no-slowdown", is_flag=True, help="Traffic does not slow the computation beside it."),
        click.option(
            "--detail",
            type=click.Choice(["pass", "layer"]),
            default="pass",
            show_default=True,
            help="Run passes as a whole, or layer by layer.",
        ),
        click.option(
            "--lengths",
            metavar="CSV",
            help="One sequence length per micro-batch of a replica (all replicas alike), instead of the job's seq_len.",
        ),
        click.option("--what-if", "ask", is_flag=True, help="Which resource, 10 % faster, helps most."),
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def perturbation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What makes devices unequal; the command receives ``perturbed``, a function of the job."""

    @click.option(
        "--slow-device", "slow_devices", metavar="N=SHARE", multiple=True,
        help="Speed that a device has left: 17=0.8 or 16-23=80%; repeatable.",
    )  # fmt: skip
    @click.option(
        "--slow-link", "slow_links", metavar="N:LEVEL=SHARE", multiple=True,
        help="Bandwidth that a device's link has left: 17:infiniband=0.5; repeatable.",
    )  # fmt: skip
    @click.option(
        "--speed-spread", metavar="SHARE", default="0", help="Spread of the devices' speeds, e.g. 2%."
    )
    @click.option("--jitter", metavar="SHARE", default="0", help="Spread of each pass's duration, e.g. 1%.")
    @click.option(
        "--seed", metavar="N", default="0", show_default=True, help="Of everything that is drawn by lot."
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        slow_devices: tuple[str, ...],
        slow_links: tuple[str, ...],
        speed_spread: str,
        jitter: str,
        seed: str,
        **kwargs: Any,
    ) -> Any:
        def perturbed(job: Job) -> Perturbations | None:
            return _perturbations(job, slow_devices, slow_links, speed_spread, jitter, seed)

        return function(*args, perturbed=perturbed, seed=seed, **kwargs)

    return wrapped


def _perturbations(
    job: Job,
    slow_devices: tuple[str, ...],
    slow_links: tuple[str, ...],
    speed_spread: str,
    jitter: str,
    seed: str,
) -> Perturbations | None:
    """What the options say, None when they say nothing."""
    from planner.simulator.perturbations import parse_perturbations
    from planner.units import parse_count

    try:
        found = parse_perturbations(
            job.cluster,
            job.devices,
            slow_devices=slow_devices,
            slow_links=slow_links,
            speed_spread=speed_spread,
            jitter=jitter,
            seed=parse_count(seed, field="seed"),
        )
    except PlannerError as error:
        raise _as_flag(error) from None
    unequal = found.slow_devices or found.slow_links or found.speed_spread or found.jitter
    return found if unequal else None


def _as_flag(error: PlannerError) -> PlannerError:
    """The error with its field as the user typed it."""
    flag = f"--{error.field.replace('_', '-')}" if error.field else None
    return type(error)(error.message, file=error.file, line=error.line, field=flag)


def failure_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--failures`` and what belongs to it; the command receives ``fails``: a function of the seed, or None."""

    @functools.wraps(function)
    def wrapped(*args: Any, failures: bool, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name, _, _ in FAILURE_FLAGS}
        given = [name for name, value in values.items() if value is not None]
        if kwargs["failure_plot"] is not None:
            given.append("failure_plot")
        if given and not failures:
            raise click.UsageError(f"--{given[0].replace('_', '-')} needs --failures")
        fails = functools.partial(_failure_options, values) if failures else None
        return function(*args, fails=fails, **kwargs)

    decorators = [
        click.option(
            "--failures", is_flag=True, help="Node failures over days: goodput, checkpoint interval."
        ),
        click.option("--failure-plot", metavar="PNG", help="Draw goodput against the checkpoint interval."),
        *(
            click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=f"Failures: {text}")
            for name, metavar, text in FAILURE_FLAGS
        ),
    ]
    for decorate in reversed(decorators):
        wrapped = decorate(wrapped)
    return wrapped


def _failure_options(values: dict[str, str | None], seed: str) -> FailureOptions:
    from planner.simulator.failures.options import failure_options

    return failure_options(**values, seed=seed)
