"""Sections on what was fitted to what, how far left-out predictions are off, and what each effect is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.report.accuracy.markdown import percent, table
from planner.report.accuracy.sources import Json

_SECTIONS = ("accelerators", "architectures", "attention", "networks", "frameworks")

EFFECT_SHOWN = 0.01
"""Rise of a group's mean error that is listed."""


def constants_section(calibrations: Sequence[Json]) -> str:
    """Constants and rows by what they belong to."""
    headings = ("data", "kind", "of", "constants", "rows", "sources")
    return table(headings, (row for calibration in calibrations for row in _constant_rows(calibration)))


def _constant_rows(calibration: Json) -> Iterator[tuple[str, ...]]:
    for section in _SECTIONS:
        for name, scope in (calibration.get(section) or {}).items():
            constants = scope["constants"].values()
            yield (
                calibration["data"],
                section.removesuffix("s"),
                name,
                str(len(scope["constants"])),
                str(max(constant["rows"] for constant in constants)),
                ", ".join(scope["families"]),
            )


def spreads_section(left_out: Json) -> str:
    """How the left-out predictions were made, spreads and coverage by family."""
    found = left_out["left_out"]
    stiffness = found["stiffness"]
    tried = ", ".join(
        f"{percent(item['stiffness'], digits=0)}: {percent(item['model_out'])} and {percent(item['family_out'])}"
        for item in found["tried"]
    )
    spreads = ", ".join(f"{name} {value:g}" for name, value in found["spreads"].items())
    text = (
        f"Left-out predictions by {found['method']}; stiffness of the priors {percent(stiffness['model_out'], digits=0)} with"
        f" a model and {percent(stiffness['family_out'], digits=0)} with a family left out, chosen by the macro error of linear"
        f" refits (stiffness: model and family left out; {tried}). Spreads of the logarithm: {spreads}.\n\n"
    )
    headings = ("family", "inside, model left out", "width", "inside, family left out", "width")
    rows = (
        (
            item["family"],
            percent(item["model_out"]["inside"], digits=0),
            percent(item["model_out"]["width"], digits=0),
            percent(item["family_out"]["inside"], digits=0),
            percent(item["family_out"]["width"], digits=0),
        )
        for item in found["families"]
    )
    return text + table(headings, rows)


def ablation_section(ablation: Json) -> str:
    """Change of mean errors without each effect."""
    whole, *effects = ablation["effects"]
    headings = (
        "without",
        "constants kept",
        "fitted again",
        "model left out",
        "groups that get worse by a point or more",
    )
    rows = [("(whole model)", *(percent(value) for value in whole["macro"].values()), "")]
    rows += [(item["effect"], *_changes(item, whole), _hit(item, whole)) for item in effects]
    hidden = [item["effect"] for item in effects if not item["visible"]]
    note = f"\nNot visibly worse without: {', '.join(hidden)}.\n" if hidden else ""
    return table(headings, rows) + note


def _changes(item: Json, whole: Json) -> tuple[str, ...]:
    return tuple(percent(value - whole["macro"][name], sign=True) for name, value in item["macro"].items())


def _hit(item: Json, whole: Json) -> str:
    rises = [
        (mine["left_out"] - group["left_out"], f"{mine['family']} {mine['accelerator']}")
        for group, mine in zip(whole["groups"], item["groups"], strict=True)
    ]
    shown = sorted((rise for rise in rises if rise[0] >= EFFECT_SHOWN), reverse=True)
    return ", ".join(f"{name} {100 * rise:+.1f}" for rise, name in shown) or "none"
