"""What is traced: one rank of a layout, from the built-in list or from plan files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from planner.documents import load_document
from planner.errors import PlannerError, suggest
from planner.jobs.loader import open_job, resolve
from planner.jobs.plan import read_plan
from planner.jobs.shelf import Shelf
from planner.jobs.types import Job
from planner.layouts.groups import group_array
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.layouts.legality import require_legal


@dataclass(frozen=True)
class Case:
    """One rank of one layout.

    Args:
        name: for tables. pipeline_rank: whose first member is traced. short: part of the short form.
    """

    name: str
    job: Job
    layout: Layout
    pipeline_rank: int = 0
    short: bool = False

    @property
    def rank(self) -> int:
        """The first global rank of the pipeline rank."""
        return int(group_array(self.layout, "pp")[:, self.pipeline_rank].min())


def built_in(*, short: bool = False, names: Iterable[str] = ()) -> list[Case]:
    """The built-in cases; only the short form's when ``short``, only ``names`` when there are any.

    Raises:
        PlannerError: a name that is not in the list, with the nearest.
    """
    path = resources.files("planner.validation.structure").joinpath("cases.yaml")
    with resources.as_file(path) as file:
        data = load_document(file).data
    entries = {entry["name"]: entry for entry in data["cases"]}
    wanted = tuple(names) or tuple(entries)
    for name in wanted:
        if name not in entries:
            raise PlannerError(
                f"no built-in case is called '{name}'; {suggest(name, entries)}", field="--case"
            )
    chosen = (entries[name] for name in wanted if entries[name].get("short", False) or not short)
    shelf = Shelf()
    return [_case(entry, data, shelf) for entry in chosen]


def _case(entry: Mapping[str, Any], data: Mapping[str, Any], shelf: Shelf) -> Case:
    devices, model = entry["devices"], entry["model"]
    batch = {"global_batch": entry.get("global_batch", devices), "framework": entry["framework"]}
    stated = {**data["training"], **batch, **entry.get("training", {})}
    place = open_job(
        {
            "name": entry["name"],
            "model": {"preset": model, "layers": entry["layers"]} if "layers" in entry else model,
            "cluster": data["cluster"],
            "devices": devices,
            "training": stated,
        }
    )
    job = resolve(place, shelf=shelf)
    layout = parse_layout(entry["layout"], job)
    require_legal(job, layout)
    return Case(entry["name"], job, layout, entry.get("pipeline_rank", 0), entry.get("short", False))


def of_plans(paths: Sequence[str]) -> list[Case]:
    """First and last pipeline rank of the layouts of plan files.

    Raises:
        PlannerError: no plan, or an illegal layout.
    """
    cases = []
    for path in paths:
        plan = read_plan(path)
        layout = parse_layout(plan.knobs, plan.job, file=path, line=plan.line("layout"))
        require_legal(plan.job, layout)
        for rank in sorted({0, layout.pp - 1}):
            name = plan.name if layout.pp == 1 else f"{plan.name} rank {rank}"
            cases.append(Case(name, plan.job, layout, rank))
    return cases
