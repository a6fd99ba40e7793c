"""Layouts one knob away from a plan, predicted: why the others lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from planner.costs.pipeline import CLOSED_FORMS
from planner.costs.predict import predict
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout, Offload, Recompute
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import knob_value, legal_mask
from planner.layouts.rules.facts import Facts, gather_facts
from planner.layouts.variants import divisors, variants, with_knob

NUMERIC = ("tp", "cp", "ulysses", "pp", "vpp", "ep", "etp", "micro_batch")


@dataclass(frozen=True)
class Neighbour:
    """One layout that differs in one knob.

    Args:
        knob, value: what differs; dp, the number of micro-batches and presets follow.
        layout: the whole layout.
        prediction: time and memory, fitting or not.
        time_change_s: by component (``compute_s``, ``tp``, ``bubble_s``, ...), its seconds minus the plan's.
        step_change_s: sum of the changes.
        memory_change_bytes: of the device's use; overflow_bytes: what does not fit, 0 when it fits.
    """

    knob: str
    value: object
    layout: Layout
    prediction: Prediction
    time_change_s: dict[str, float]
    step_change_s: float
    memory_change_bytes: float
    overflow_bytes: float


def neighbours(job: Job, prediction: Prediction) -> list[Neighbour]:
    """Every legal layout one step along one knob away from a plan, fastest first.

    Args:
        prediction: of a layout of this job.
    """
    facts = gather_facts(job)
    base = parse_layout(prediction.layout, job)
    tried = [item for item in _all(job, base, facts) if item[2].schedule in CLOSED_FORMS]
    if not tried:
        return []
    legal = legal_mask(from_layouts([layout for _, _, layout in tried]), job, facts)
    result = [
        _compare(job, prediction, knob, value, layout)
        for (knob, value, layout), good in zip(tried, legal, strict=True)
        if good
    ]
    return sorted(result, key=lambda item: (item.overflow_bytes > 0, item.prediction.step_time_s))


def _all(job: Job, base: Layout, facts: Facts) -> Iterator[tuple[str, object, Layout]]:
    for knob in NUMERIC:
        yield from _steps(job, base, knob, facts)
    for knob in ("sp", "schedule", "zero_stage"):
        for value, layout in variants(base, knob, facts):
            yield knob, value, layout
    for policy in (Recompute(), Recompute("selective", job.selective_modules), Recompute("full")):
        if policy != base.recompute or base.recompute_layers is not None:
            yield "recompute", policy.mode, replace(base, recompute=policy, recompute_layers=None)
    half = facts.layers // base.pp // 2
    if half and (base.recompute.mode, base.recompute_layers) != ("full", half):
        value = f"full, first {half} layers"
        yield "recompute", value, replace(base, recompute=Recompute("full"), recompute_layers=half)
    for state in ("optimizer", "activations"):
        tier = "hbm" if getattr(base.offload, state)[0] != "hbm" else "host"
        moved: dict[str, Any] = {state: (tier, 0.0 if tier == "hbm" else 1.0)}
        offload: Offload = replace(base.offload, **moved)
        yield f"offload.{state}", tier, replace(base, offload=offload)


def _steps(job: Job, base: Layout, knob: str, facts: Facts) -> Iterator[tuple[str, object, Layout]]:
    """The nearest legal layouts below and above along a numeric knob."""
    tried = [(value, _repaired(layout, knob, facts)) for value, layout in variants(base, knob, facts)]
    if not tried:
        return
    legal = legal_mask(from_layouts([layout for _, layout in tried]), job, facts)
    good = [item for item, fine in zip(tried, legal, strict=True) if fine]
    now = knob_value(base, knob)
    below = [item for item in good if item[0] < now]
    above = [item for item in good if item[0] > now]
    for value, layout in (*below[-1:], *above[:1]):
        yield knob, value, layout


def _repaired(layout: Layout, knob: str, facts: Facts) -> Layout:
    """A new pp keeps as many virtual stages as its layers allow."""
    if knob != "pp" or layout.vpp == 1 or facts.layers % layout.pp:
        return layout
    most = max(d for d in divisors(facts.layers // layout.pp) if d <= layout.vpp)
    return with_knob(layout, "vpp", most, facts) or layout


def _compare(job: Job, best: Prediction, knob: str, value: object, layout: Layout) -> Neighbour:
    other = predict(job, layout)
    before, after = _components(best), _components(other)
    memory = other.memory
    missing = memory.device_used_bytes + memory.reserve_bytes - memory.capacity_bytes
    return Neighbour(
        knob=knob,
        value=value,
        layout=layout,
        prediction=other,
        time_change_s={name: after[name] - before[name] for name in after},
        step_change_s=other.step_time_s - best.step_time_s,
        memory_change_bytes=memory.device_used_bytes - best.memory.device_used_bytes,
        overflow_bytes=0.0 if memory.fits else max(missing, 0.0),
    )


def _components(prediction: Prediction) -> dict[str, float]:
    time = prediction.time
    parts = {"compute_s": time.compute_s, "optimizer_s": time.optimizer_s, "host_s": time.host_s}
    return {**parts, **time.exposed, "bubble_s": time.bubble_s}
