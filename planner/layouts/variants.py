"""A layout with one knob changed and what follows from it (dp, micro-batches, presets)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from planner.layouts.layout import DEFAULT_SLICES, NAMED_SCHEDULES, Layout, Recompute, Schedule
from planner.layouts.presets import zero_shard
from planner.layouts.rules.facts import Facts


def divisors(number: int) -> tuple[int, ...]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def knob_values(knob: str, layout: Layout, facts: Facts) -> tuple[Any, ...]:
    """Values worth trying for one knob, legal or not; empty for knobs without a natural list."""
    if knob in ("tp", "pp", "cp", "ulysses", "dp", "etp"):
        return divisors(facts.devices)
    if knob == "ep":
        return divisors(facts.experts) if facts.experts else (1,)
    if knob == "vpp":
        return divisors(facts.layers)
    if knob == "micro_batch":
        return divisors(facts.global_batch)
    if knob == "recompute_layers":
        return tuple(range(1, facts.layers // layout.pp + 1))
    if knob == "shard":
        sizes = divisors(layout.dp * layout.cp)
        return tuple(dict.fromkeys(zero_shard(stage, size) for stage in (1, 2, 3) for size in sizes))
    named: dict[str, tuple[Any, ...]] = {
        "sp": (False, True),
        "schedule": NAMED_SCHEDULES,
        "slices": (1, 2, 4, 8),
        "zero_stage": (0, 1, 2, 3),
        "recompute": ("none", "full"),
        "cp_kind": ("ring", "allgather", "ulysses"),
    }
    return named.get(knob, ())


def with_knob(layout: Layout, knob: str, value: Any, facts: Facts) -> Layout | None:
    """``layout`` with that knob, or None when degrees or batch cannot follow in whole numbers.

    dp takes the devices that are left, micro-batches the sequences that are left; ZeRO presets and an unfolded
    expert mesh (etp = tp) stay what they are.
    """
    changed = _changed(layout, knob, value)
    if changed is None:
        return None
    if knob in ("tp", "pp", "cp", "ulysses", "cp_kind"):
        inner = changed.tp * changed.cp * changed.pp
        used = layout.tp * layout.cp * layout.pp * layout.dp
        if used % inner:
            return None
        changed = replace(changed, dp=used // inner)
    changed = _keep_presets(layout, changed)
    batch = changed.dp * changed.micro_batch
    if facts.global_batch % batch:
        return None
    return replace(changed, micro_batches=facts.global_batch // batch)


def _changed(layout: Layout, knob: str, value: Any) -> Layout | None:
    if knob == "cp":
        return replace(layout, ring=value // layout.ulysses) if value % layout.ulysses == 0 else None
    if knob == "ulysses":
        return replace(layout, ulysses=value, ring=layout.cp // value) if layout.cp % value == 0 else None
    if knob == "cp_kind":
        if value == "ulysses":
            return replace(layout, ulysses=layout.cp, ring=1, cp_kind="ring")
        return replace(layout, cp_kind=value)
    if knob == "zero_stage":
        return replace(layout, shard=zero_shard(value, layout.dp * layout.cp))
    if knob == "recompute":
        return replace(layout, recompute=Recompute(value), recompute_layers=None)
    if knob == "tp":
        folded_back = layout.etp == layout.tp and layout.tp > 1
        return replace(layout, tp=value, sp=layout.sp and value > 1, etp=value if folded_back else layout.etp)
    if knob in ("pp", "vpp"):
        changed = replace(layout, layers_per_stage=None, **{knob: value})
        if changed.pp == 1:
            return with_schedule(replace(changed, vpp=1), "1f1b")
        if knob == "vpp" and layout.schedule in ("1f1b", "interleaved_1f1b"):
            return with_schedule(changed, "interleaved_1f1b" if value > 1 else "1f1b")
        return changed
    if knob == "schedule":
        return with_schedule(layout, value)
    return replace(layout, **{knob: value})


def with_schedule(layout: Layout, schedule: Schedule) -> Layout:
    """The layout under a generated schedule, with what goes with it."""
    slices = DEFAULT_SLICES if schedule == "seq1f1b" else 1
    return replace(layout, schedule=schedule, schedule_file=None, slices=slices)


def _keep_presets(before: Layout, after: Layout) -> Layout:
    """ZeRO presets follow the new size of dp x cp."""
    old, new = before.dp * before.cp, after.dp * after.cp
    stage = before.zero_stage
    if after.shard != before.shard or old == new or stage is None:
        return after
    if old == 1:
        return after
    return replace(after, shard=zero_shard(stage, new))


def variants(layout: Layout, knob: str, facts: Facts) -> Iterator[tuple[Any, Layout]]:
    """(value, layout) for every value of the knob that degrees and batch can follow."""
    for value in knob_values(knob, layout, facts):
        changed = with_knob(layout, knob, value, facts)
        if changed is not None and changed != layout:
            yield value, changed
