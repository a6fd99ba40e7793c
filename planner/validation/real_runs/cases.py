"""What is run: a job of a small model and a layout, from the built-in list or from plan files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from planner.calibration.measure.machine import this_machine
from planner.calibration.measure.start import Device, accelerator_here
from planner.documents import load_document
from planner.errors import PlannerError
from planner.jobs.loader import open_job, resolve
from planner.jobs.plan import read_plan
from planner.jobs.shelf import Shelf
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.validation.real_runs.scaled.copy import Cut, scaled_copy


@dataclass(frozen=True)
class Case:
    """One layout to run for real.

    Args:
        name: for tables. short: part of the short form.
        cuts: in which a scaled-down copy differs from its plan.
    """

    name: str
    job: Job
    layout: Layout
    short: bool = False
    cuts: tuple[Cut, ...] = ()

    @property
    def processes(self) -> int:
        layout = self.layout
        return layout.tp * layout.cp * layout.pp * layout.dp


def built_in(
    name: str = "cases.yaml",
    *,
    short: bool = False,
    calibrations: Mapping[int, Path] | None = None,
    device: Device = "cpu",
) -> list[Case]:
    """The cases of a list of this package; only the short form's when ``short``.

    Args:
        calibrations: files with measured figures of this machine by number of processes; else those of the catalogue.
        device: the jobs' accelerator: a core of a common server, or the GPU at hand.

    Raises:
        PlannerError: no GPU at hand.
    """
    path = resources.files("planner.validation.real_runs").joinpath(name)
    with resources.as_file(path) as file:
        data = load_document(file).data
    chosen = (entry for entry in data["cases"] if entry.get("short", False) or not short)
    accelerator = accelerator_here(device)
    shelf = Shelf()
    return [_case(entry, data, calibrations or {}, accelerator, shelf) for entry in chosen]


def _case(
    entry: Mapping[str, Any],
    data: Mapping[str, Any],
    calibrations: Mapping[int, Path],
    accelerator: str,
    shelf: Shelf,
) -> Case:
    knobs = str(entry["layout"])
    processes = _processes(knobs)
    section = {**data["training"], **entry.get("training", {}), "framework": entry["framework"]}
    model = {"name": entry["model"], "seq_len": section["seq_len"], **data["models"][entry["model"]]}
    place = open_job(
        {
            "name": entry["name"],
            "model": model,
            "cluster": this_machine(processes, calibrations.get(processes), accelerator),
            "devices": processes,
            "training": section,
        }
    )
    job = resolve(place, shelf=shelf)
    return Case(entry["name"], job, parse_layout(knobs, job), entry.get("short", False))


def _processes(knobs: str) -> int:
    """Product of the degrees that a case states; every case states its dp when it is not 1."""
    from planner.layouts.knob_text import parse_knob_text

    given = parse_knob_text(knobs)
    product = 1
    for name in ("tp", "cp", "pp", "dp"):
        product *= int(given.get(name, 1))
    return product


def of_plans(paths: Sequence[str], most: int, *, scale_down: int | None = None) -> list[Case]:
    """The layouts of plan files.

    Args:
        scale_down: take copies on at most so many processes (see ``scaled.copy``).

    Raises:
        PlannerError: no plan, or one that needs more than ``most`` processes.
    """
    cases = []
    for path in paths:
        plan = read_plan(path)
        layout = parse_layout(plan.knobs, plan.job, file=path, line=plan.line("layout"))
        case = Case(plan.name, plan.job, layout)
        if scale_down is not None:
            copy = scaled_copy(plan.job, layout, min(scale_down, most))
            case = Case(plan.name, copy.job, copy.layout, cuts=copy.cuts)
        if case.processes > most:
            message = (
                f"needs {case.processes} processes, at most {most} run here; --scale-down 8 runs a small copy"
            )
            raise PlannerError(message, file=path, field="layout")
        cases.append(case)
    return cases
