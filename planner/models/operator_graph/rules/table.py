"""The rule of every known function."""

from __future__ import annotations

from collections.abc import Mapping

from planner.models.operator_graph.rules import (
    attention,
    contractions,
    elementwise,
    reductions,
    selections,
    tables,
    views,
)
from planner.models.operator_graph.rules.call import (
    AxisRule,
    Call,
    Rule,
    UnknownCallError,
    axis_lengths,
    opaque,
)

RULES: Mapping[str, Rule] = {
    **elementwise.RULES,
    **views.RULES,
    **selections.RULES,
    **reductions.RULES,
    **contractions.RULES,
    **attention.RULES,
    **tables.RULES,
}
"""Rules by ATen name."""


def rule_of(call: Call) -> tuple[AxisRule, dict[str, int], str | None]:
    """Axes of a call, their lengths, and why its tensors stay whole (None where a rule is known)."""
    rule = RULES.get(call.target)
    reason: str | None
    try:
        if rule is None:
            raise UnknownCallError("no rule is known")
        axes = rule(call)
        return axes, axis_lengths(call, axes), None
    except UnknownCallError as error:
        reason = f"{call.target}: {error}"
    axes = opaque(call)
    return axes, axis_lengths(call, axes), reason
