"""Is a layout legal, which rule fails, and what are the nearest legal values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Shard
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.rules.experts import EXPERT_RULES
from planner.layouts.rules.facts import Facts, gather_facts
from planner.layouts.rules.framework import FRAMEWORK_RULES
from planner.layouts.rules.mesh import MESH_RULES
from planner.layouts.rules.pipeline import PIPELINE_RULES
from planner.layouts.rules.rule import Mask, Rule
from planner.layouts.rules.states import STATE_RULES
from planner.layouts.variants import variants

RULES: tuple[Rule, ...] = (*MESH_RULES, *PIPELINE_RULES, *EXPERT_RULES, *STATE_RULES, *FRAMEWORK_RULES)

_NEAREST = 4


@dataclass(frozen=True)
class Violation:
    """One rule that a layout breaks.

    Args:
        rule: name of the rule.
        knob: the knob to change first.
        found: its value.
        accepted: nearest legal values of that knob with everything else kept, best first (empty: none or no list).
        message: one sentence with all of it.
    """

    rule: str
    knob: str
    found: object
    accepted: tuple[object, ...]
    message: str


def rule_masks(layouts: Layouts, job: Job) -> dict[str, Mask]:
    """For each rule by name: whether each row keeps it, shape (rows,)."""
    facts = gather_facts(job)
    return {rule.name: rule.holds(layouts, facts) for rule in RULES}


def legal_mask(layouts: Layouts, job: Job, facts: Facts | None = None) -> Mask:
    """Whether each row keeps every rule, shape (rows,)."""
    known = facts if facts is not None else gather_facts(job)
    legal = np.ones(len(layouts), dtype=np.bool_)
    for rule in RULES:
        legal &= rule.holds(layouts, known)
    return legal


def check(job: Job, layout: Layout) -> list[Violation]:
    """Every rule that the layout breaks, with the nearest legal values; empty when it is legal."""
    facts = gather_facts(job)
    row = from_layouts([layout])
    return [_violation(rule, job, layout, facts) for rule in RULES if not rule.holds(row, facts)[0]]


def require_legal(job: Job, layout: Layout) -> None:
    """Passes a legal layout.

    Raises:
        PlannerError: the first violated rule.
    """
    violations = check(job, layout)
    if violations:
        raise PlannerError(violations[0].message, field=f"layout.{violations[0].knob}")


def _violation(rule: Rule, job: Job, layout: Layout, facts: Facts) -> Violation:
    knob = rule.knobs[0]
    accepted: tuple[object, ...] = ()
    for candidate in rule.knobs:
        accepted = nearest_legal(rule, candidate, job, layout, facts)
        if accepted:
            knob = candidate
            break
    found = knob_value(layout, knob)
    message = f"{rule.requirement(facts)}; found {_values(layout, rule)}"
    if accepted:
        message += f"; nearest legal {knob}: {', '.join(_plain(value) for value in accepted)}"
    return Violation(rule.name, knob, found, accepted, message)


def nearest_legal(rule: Rule, knob: str, job: Job, layout: Layout, facts: Facts) -> tuple[Any, ...]:
    """Values of one knob nearest to the layout's that make it legal, or at least keep this rule."""
    tried = list(variants(layout, knob, facts))
    if not tried:
        return ()
    rows = from_layouts([changed for _, changed in tried])
    mask = legal_mask(rows, job, facts)
    if not mask.any():
        mask = rule.holds(rows, facts)
    values = [value for (value, _), good in zip(tried, mask, strict=True) if good]
    found = knob_value(layout, knob)
    if isinstance(found, int) and all(isinstance(value, int) for value in values):
        values = sorted(sorted(values, key=lambda value: (abs(value - found), value))[:_NEAREST])
    if knob == "shard" and isinstance(found, Shard):
        values = sorted(values, key=lambda shard: _distance(shard, found))
    return tuple(values[:_NEAREST])


def _distance(shard: Shard, other: Shard) -> int:
    sizes = ("parameters", "gradients", "optimizer", "parameters_secondary")
    return sum(abs(getattr(shard, name) - getattr(other, name)) for name in sizes)


def knob_value(layout: Layout, knob: str) -> object:
    """The layout's value of a knob that rules name."""
    if knob == "recompute":
        return layout.recompute.mode
    if knob == "recompute_modules":
        return list(layout.recompute.modules)
    if knob == "zero_stage" and layout.zero_stage is None:
        return layout.shard
    return getattr(layout, knob)


def _values(layout: Layout, rule: Rule) -> str:
    return ", ".join(f"{knob}={_plain(knob_value(layout, knob))}" for knob in rule.knobs)


def _plain(value: object) -> str:
    if isinstance(value, Shard):
        parts = f"parameters {value.parameters}, gradients {value.gradients}, optimizer {value.optimizer}"
        if value.parameters_secondary:
            parts += f", parameters_secondary {value.parameters_secondary}"
        return "{" + parts + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
