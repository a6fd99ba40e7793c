"""Changes of one knob that trade time for memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute
from planner.layouts.legality import check
from planner.layouts.rules.facts import gather_facts
from planner.layouts.variants import with_knob

Change = tuple[str, object, Layout]

DEGREES = ("tp", "cp", "ulysses", "pp", "ep")


def relaxations(job: Job, layout: Layout) -> Iterator[Change]:
    """(knob, value, layout) of every legal layout that saves memory by one knob: more recompute, sharding, splitting
    or offload, a smaller micro-batch."""
    for knob, value, changed in (*_recompute(job, layout), *_degrees(job, layout), *_offload(layout)):
        if changed is not None and changed != layout and not check(job, changed):
            yield knob, value, changed


def _recompute(job: Job, layout: Layout) -> Iterator[tuple[str, object, Layout | None]]:
    mode = layout.recompute.mode
    if mode == "none":
        selective = Recompute("selective", job.selective_modules)
        yield "recompute", "selective", replace(layout, recompute=selective, recompute_layers=None)
    if mode != "full" or layout.recompute_layers is not None:
        yield "recompute", "full", replace(layout, recompute=Recompute("full"), recompute_layers=None)


def _degrees(job: Job, layout: Layout) -> Iterator[tuple[str, object, Layout | None]]:
    facts = gather_facts(job)
    for knob in DEGREES:
        value = 2 * int(getattr(layout, knob))
        if knob == "ulysses":
            wider = with_knob(replace(layout, ulysses=value), "tp", layout.tp, facts)
            yield knob, value, wider
        else:
            yield knob, value, with_knob(layout, knob, value, facts)
    for stage in range((layout.zero_stage or 0) + 1, 4):
        yield "zero_stage", stage, with_knob(layout, "zero_stage", stage, facts)
    if layout.micro_batch > 1:
        yield "micro_batch", 1, with_knob(layout, "micro_batch", 1, facts)


def _offload(layout: Layout) -> Iterator[tuple[str, object, Layout | None]]:
    offload = layout.offload
    if offload.optimizer[0] == "hbm":
        yield "offload.optimizer", "host", replace(layout, offload=replace(offload, optimizer=("host", 1.0)))
    if offload.activations[0] == "hbm":
        yield (
            "offload.activations",
            "host",
            replace(layout, offload=replace(offload, activations=("host", 1.0))),
        )
