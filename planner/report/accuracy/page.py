"""The whole page, and the README with its table renewed."""

from __future__ import annotations

from collections.abc import Mapping

from planner.report.accuracy.bars import bars_section
from planner.report.accuracy.fitted import ablation_section, constants_section, spreads_section
from planner.report.accuracy.markdown import renewed
from planner.report.accuracy.overview import overview, readme_table
from planner.report.accuracy.points import collectives_section, kernels_section
from planner.report.accuracy.runs import (
    experts_section,
    groups_section,
    left_out_section,
    memory_section,
    open_section,
    order_section,
    worst_section,
)
from planner.report.accuracy.sources import Sources

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
"""Lines of the README between which its table stands."""


def accuracy_page(sources: Sources, pictures: Mapping[str, str]) -> str:
    """Markdown.

    Args:
        pictures: file names by kind of data (runs, kernels, collectives).
    """
    overall = sources.runs["overall"]
    parts = [
        "# Accuracy",
        "Written by `plan validate report`; do not edit: run it again ([validation](validation.md#the-report)).",
        f"{overall['n']:,} complete published training runs, none measured by this project; {overall['refused']} refused."
        " Every prediction uses the catalogue's [calibration](calibration.md), fitted with priors to these very runs: errors"
        " *in sample* flatter, those with a model or a whole family left out do not. Groups (family x accelerator) have one vote"
        " each.",
        overview(sources),
        _picture(pictures, "runs", "predicted against measured step time"),
    ]
    if sources.notes.known:
        parts += ["## Known to be wrong", "\n".join(f"- {line}" for line in sources.notes.known)]
    parts += ["## What is asked, and what is reached", bars_section(sources)]
    parts += ["## Step time by group, in sample", groups_section(sources.runs)]
    if sources.left_out is not None:
        parts += ["## Left out of the fit", "Median / mean error.", left_out_section(sources.left_out)]
    parts += ["## Models with experts, in sample", experts_section(sources.runs["experts"])]
    parts += ["## The largest errors", worst_section(sources)]
    parts += ["## Order of layouts", order_section(sources)]
    parts += ["## Memory", memory_section(sources.runs["memory"])]
    parts += ["## Rows that leave settings open", open_section(sources.runs["assignments"])]
    parts += ["## Kernels", "Errors beyond rounding.", kernels_section(sources.kernels)]
    parts += [_picture(pictures, "kernels", "predicted against measured kernels")]
    parts += ["## Collectives", collectives_section(sources.collectives)]
    parts += [_picture(pictures, "collectives", "predicted against measured collectives")]
    if sources.left_out is not None and sources.left_out["left_out"] is not None:
        parts += ["## Intervals", spreads_section(sources.left_out)]
    parts += ["## What was fitted", constants_section(sources.calibrations)]
    if sources.ablation is not None:
        parts += ["## What each effect is worth", ablation_section(sources.ablation)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _picture(pictures: Mapping[str, str], kind: str, words: str) -> str:
    return f"![{words}]({pictures[kind]})" if kind in pictures else ""


def renewed_readme(text: str, sources: Sources, file: str) -> str:
    """The README with the table between its marks renewed.

    Raises:
        PlannerError: it has no such marks.
    """
    return renewed(text, (BEGIN, END), readme_table(sources), file)
