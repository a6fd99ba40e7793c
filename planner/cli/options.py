"""Arguments and options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from planner.cli.output import Output
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.jobs.place import JobDocument
    from planner.jobs.plan import Plan
    from planner.jobs.types import Job
    from planner.layouts.layout import Layout
    from planner.solvers.mixed.job import MixedJob


JOB_SECTIONS = ("model", "cluster", "devices", "training", "search")


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json`` and ``-q/--quiet``; the command receives them as ``output: Output``."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, no notes, only the main table.")
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        return function(*args, output=Output(as_json, quiet), **kwargs)

    return wrapped


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``JOB`` and its overrides; the command receives ``loaded: LoadedJob``."""
    return _job_options(function, load)


def job_or_groups_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """As ``job_options``; where the job's cluster has groups the command receives ``loaded: LoadedGroups``."""
    return _job_options(function, load_any)


def _job_options(
    function: Callable[..., Any], loading: Callable[[str, dict[str, Any]], LoadedJob | LoadedGroups]
) -> Callable[..., Any]:

    @click.argument("job_file", metavar="JOB", type=click.Path())
    @click.option("--devices", metavar="N", help="Use this many devices of the cluster.")
    @click.option("--tokens", metavar="N", help="Token budget, for example 15T: gives days, cost and energy.")
    @click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override a key, e.g. training.seq_len=32K.",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        job_file: str,
        devices: str | None,
        tokens: str | None,
        settings: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        overrides = parse_settings(settings)
        if devices is not None:
            overrides["devices"] = devices
        if tokens is not None:
            overrides["training.tokens"] = tokens
        loaded = None
        try:
            loaded = loading(job_file, overrides)
            return function(*args, loaded=loaded, **kwargs)
        except PlannerError as error:
            raise _located(error, loaded, overrides) from None

    return wrapped


def layout_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--layout``; the command receives ``layout: str | None``."""
    return click.option(
        "--layout",
        metavar="KNOBS",
        help="Knobs such as tp=8,pp=4,micro_batch=2 (a plan file brings its own).",
    )(function)


@dataclass(frozen=True)
class LoadedJob:
    """A job, where it stands, and the plan that it came from when the file was one."""

    job: Job
    place: JobDocument
    plan: Plan | None

    def layout(self, text: str | None) -> Layout:
        """The layout of ``--layout``, else the plan's.

        Raises:
            PlannerError: neither is there, or the knobs are faulty.
        """
        from planner.layouts.knobs import parse_layout

        if text is not None:
            return parse_layout(text, self.job, base=self.place.base)
        if self.plan is None:
            raise click.UsageError(
                "a job needs --layout, for example --layout tp=8,pp=4 (a plan file brings its own)"
            )
        return parse_layout(
            self.plan.knobs,
            self.job,
            file=str(self.plan.document.path),
            line=self.plan.line("layout"),
            base=self.place.base,
        )

    def on_devices(self, devices: int) -> Job:
        """The job on fewer devices, as a search for the fewest chose them; the same job when idle ones are allowed."""
        if devices == self.job.devices or self.job.search.allow.get("idle_devices"):
            return self.job
        from planner.jobs.loader import override, resolve

        return resolve(override(self.place, {"devices": devices}))


@dataclass(frozen=True)
class LoadedGroups:
    """A job on a cluster with groups, and where it stands."""

    job: MixedJob
    place: JobDocument


def load_any(path: str, overrides: dict[str, Any] | None = None) -> LoadedJob | LoadedGroups:
    """A job file or a plan file; the job may be one on a cluster with groups."""
    from planner.jobs.loader import open_job
    from planner.solvers.mixed.job import load_mixed

    place = open_job(path, overrides=overrides)
    mixed = load_mixed(place)
    return load(path, overrides) if mixed is None else LoadedGroups(mixed, place)


def load(path: str, overrides: dict[str, Any] | None = None) -> LoadedJob:
    """A job file or a plan file."""
    from planner.jobs.loader import open_job, resolve
    from planner.jobs.plan import plan_at

    place = open_job(path, overrides=overrides)
    if not place.is_plan:
        return LoadedJob(resolve(place), place, None)
    plan = plan_at(place)
    return LoadedJob(plan.job, place, plan)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` pairs as a mapping; values are read as YAML scalars or flow collections.

    Raises:
        click.UsageError: a setting without ``=``, or a value that is no YAML.
    """
    result: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key.strip():
            raise click.UsageError(
                f"--set {setting!r}: accepted: KEY=VALUE, for example training.seq_len=32K"
            )
        result[key.strip()] = _scalar(setting, value)
    return result


def _scalar(setting: str, text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise click.UsageError(f"--set {setting!r}: the value is not valid YAML") from None


def _located(
    error: PlannerError, loaded: LoadedJob | LoadedGroups | None, overrides: dict[str, Any]
) -> PlannerError:
    """The error with the place of its field: the command line when it set the field, else file and line of the job."""
    field = error.field or ""
    if any(field == key or field.startswith(f"{key}.") for key in overrides):
        return type(error)(error.message, field=f"command line: {field}")
    keys = tuple(field.split("."))
    if error.file is not None or loaded is None or keys[0] not in JOB_SECTIONS:
        return error
    place = loaded.place
    line = place.document.line((*place.at, *keys))
    return type(error)(error.message, file=place.document.path, line=line, field=field)
