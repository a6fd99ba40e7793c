"""Tables of ``plan validate ablation``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from planner.report.tables import new_table
from planner.validation.ablation.study import Ablation, Errors

if TYPE_CHECKING:
    from rich.console import Console

LEAST_SHOWN = 0.005
"""Changes of a group's mean error below it are not listed."""


def ablation_json(ablations: Sequence[Ablation], seconds: float) -> dict[str, Any]:
    """Plain data; errors are fractions; the first entry is the whole model.

    Args:
        seconds: that the study took.
    """
    whole = ablations[0]
    return {"effects": [_plain(item, whole) for item in ablations], "seconds": seconds}


def _plain(item: Ablation, whole: Ablation) -> dict[str, Any]:
    group, rise = item.hit(whole)
    return {
        "effect": None if item.effect is None else item.effect.name,
        "removed": None if item.effect is None else item.effect.removed,
        "macro": asdict(item.macro),
        "groups": [
            {"family": family, "accelerator": accelerator, **asdict(errors)}
            for (family, accelerator), errors in item.groups.items()
        ],
        "hit": None if item.effect is None else {"group": " ".join(group), "rise": rise},
        "visible": item.effect is None or item.visible(whole),
    }


def show_ablation(console: Console, found: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Print what each effect is worth.

    Args:
        found: as ``ablation_json`` gives it. quiet: without the table by group.
    """
    whole, *effects = found["effects"]
    headings = ("without", "constants kept", "fitted again", "model left out", "hit most", "there")
    table = new_table(
        "Mean error in %, mean over groups; change without an effect", headings, left=("without", "hit most")
    )
    table.add_row("(whole model)", *(_percent(whole["macro"][name]) for name in _FIELDS), "", "")
    for item in effects:
        changes = (_change(item["macro"][name] - whole["macro"][name]) for name in _FIELDS)
        table.add_row(item["effect"], *changes, item["hit"]["group"], _change(item["hit"]["rise"]))
    console.print(table)
    for item in effects:
        if not item["visible"]:
            console.print(f"not visibly worse without: {item['effect']} ({item['removed']})")
    if not quiet:
        _by_group(console, whole, effects)


_FIELDS = tuple(Errors.__dataclass_fields__)


def _by_group(console: Console, whole: Mapping[str, Any], effects: Sequence[Mapping[str, Any]]) -> None:
    headings = ("without", "groups whose mean error with a model left out changes, in points")
    table = new_table(None, headings, left=headings)
    for item in effects:
        changes = [
            (mine["left_out"] - group["left_out"], f"{mine['family']} {mine['accelerator']}")
            for group, mine in zip(whole["groups"], item["groups"], strict=True)
        ]
        shown = sorted((change for change in changes if abs(change[0]) >= LEAST_SHOWN), reverse=True)
        table.add_row(item["effect"], ", ".join(f"{name} {_change(rise)}" for rise, name in shown) or "none")
    console.print(table)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _change(value: float) -> str:
    return f"{100 * value:+.1f}"
