"""Rules of the expert mesh: experts live on a second mesh over the ranks of one pipeline stage."""

from __future__ import annotations

import numpy as np

from planner.layouts.layout import DEFAULT_AXIS_ORDER
from planner.layouts.layouts import Layouts
from planner.layouts.mesh import meshes_agree
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule, all_divisible, listed, mask

_MESHES = ("tp", "ulysses", "ring", "dp", "ep", "etp")


def _needs_experts(layouts: Layouts, facts: Facts) -> Mask:
    if facts.experts:
        return np.ones(len(layouts), dtype=np.bool_)
    return mask((layouts.ep == 1) & (layouts.etp == 1))


def _experts(layouts: Layouts, facts: Facts) -> Mask:
    return all_divisible((facts.experts,), layouts.ep)


def _expert_ffn(layouts: Layouts, facts: Facts) -> Mask:
    return all_divisible(facts.expert_ffn, layouts.etp)


def _expert_mesh(layouts: Layouts, facts: Facts) -> Mask:
    return mask((layouts.tp * layouts.cp * layouts.dp) % (layouts.etp * layouts.ep) == 0)


def _unfolded(layouts: Layouts, facts: Facts) -> Mask:
    if not facts.experts or "folding" in facts.features:
        return np.ones(len(layouts), dtype=np.bool_)
    return mask((layouts.etp == layouts.tp) & (layouts.dp % layouts.ep == 0))


def _same_stage(layouts: Layouts, facts: Facts) -> Mask:
    result = np.ones(len(layouts), dtype=np.bool_)
    if not facts.experts:
        return result
    names = ("tp", "ulysses", "ring", "dp", "pp", "etp", "ep")
    for code, order in enumerate(layouts.axis_orders):
        rows = layouts.axis_order == code
        if order[-1] != "pp" and sorted(order) == sorted(DEFAULT_AXIS_ORDER) and rows.any():
            result[rows] = meshes_agree(order, {name: layouts.columns[name][rows] for name in names})
    return result


def _split_tokens(layouts: Layouts, facts: Facts) -> Mask:
    return mask((layouts.sp == 1) | (layouts.tp == 1) | (facts.experts == 0))


EXPERT_RULES = (
    Rule(
        "needs_experts",
        ("ep", "etp"),
        ("ep", "etp"),
        _needs_experts,
        lambda f: "ep and etp must be 1: the model has no routed experts",
    ),
    Rule(
        "experts",
        ("ep",),
        ("ep",),
        _experts,
        lambda f: f"ep must divide the {f.experts} routed experts",
    ),
    Rule(
        "expert_ffn",
        ("etp",),
        ("etp",),
        _expert_ffn,
        lambda f: f"etp must divide the inner width of an expert ({listed(f.expert_ffn)})",
    ),
    Rule(
        "expert_mesh",
        ("ep", "etp"),
        _MESHES,
        _expert_mesh,
        lambda f: "etp x ep must divide tp x cp x dp, the ranks of one pipeline stage",
    ),
    Rule(
        "expert_axis_order",
        ("axis_order",),
        (*_MESHES, "pp", "axis_order"),
        _same_stage,
        lambda f: "both meshes must give every rank the same pipeline stage: put pp last in axis_order",
    ),
    Rule(
        "unfolded_experts",
        ("ep", "etp"),
        _MESHES,
        _unfolded,
        lambda f: f"{f.framework} does not fold the expert mesh: etp must equal tp and ep must divide dp",
    ),
    Rule(
        "split_tokens",
        ("sp",),
        ("sp", "tp"),
        _split_tokens,
        lambda f: "routed experts under tp > 1 need sp, or every tensor rank would route the same tokens",
    ),
)
