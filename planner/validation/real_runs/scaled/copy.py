"""The copy of a plan that fits this machine, and what it differs in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.calibration.measure.machine import this_machine
from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs, parse_layout
from planner.layouts.layout import Layout
from planner.layouts.legality import require_legal
from planner.models.catalogue import load_spec
from planner.models.spec import ModelSpec
from planner.validation.real_runs.scaled.layout import scaled_layout
from planner.validation.real_runs.scaled.model import scaled_model, scaled_sequence

KEPT = ("framework", "attention", "cp_balance", "overlap")
"""Of the training section; sizes follow, everything else takes its default."""


@dataclass(frozen=True)
class Cut:
    """One difference of the copy: the field, what it was, what it is; None where it is absent."""

    field: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.field} {_said(self.was)} -> {_said(self.now)}"


@dataclass(frozen=True)
class ScaledCopy:
    """A job and layout small enough, and every field in which they differ from the plan's."""

    job: Job
    layout: Layout
    cuts: tuple[Cut, ...]


def scaled_copy(job: Job, layout: Layout, most: int) -> ScaledCopy:
    """The plan as a copy on at most ``most`` processes of this machine.

    Every axis, schedule, sharding and recomputation stays as long as there are ranks for it; degrees, depth, widths, batch
    and sequence shrink. Loss and traffic of the copy are checked as those of any layout; its times say nothing of the plan's.

    Raises:
        PlannerError: no decoder, or no legal copy; says which rule it breaks.
    """
    small = scaled_layout(layout, most)
    spec = load_spec(job.source.get("model", job.model.name))
    model = _plain(scaled_model(spec, layout, small))
    training = dict(job.source["training"])
    section = {name: training[name] for name in KEPT if name in training} | {
        "global_batch": small.micro_batch * small.micro_batches * small.dp,
        "seq_len": scaled_sequence(small),
        "precision": "fp32",  # what a CPU computes in
    }
    devices = small.tp * small.cp * small.pp * small.dp
    given = {"model": model, "cluster": this_machine(devices), "devices": devices, "training": section}
    try:
        scaled = load_job({"name": job.source.get("name", "plan"), **given})
        chosen = parse_layout(layout_to_knobs(small), scaled)
        require_legal(scaled, chosen)
    except PlannerError as error:
        raise PlannerError(f"no copy on {most} processes: {error}", field="--scale-down") from None
    before = {"layout": layout_to_knobs(layout), "model": _plain(spec), "training": training}
    after = {"layout": layout_to_knobs(chosen), "model": model, "training": section}
    return ScaledCopy(scaled, chosen, tuple(_differences(before, after, "")))


def _plain(spec: ModelSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_defaults=True)


def _differences(before: Any, after: Any, path: str) -> Iterator[Cut]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif before != after and not path.startswith("model.published") and path != "model.source":
        yield Cut(path, before, after)


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
