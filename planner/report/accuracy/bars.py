"""What was asked of the predictions beside what they reach: the bars are data, the figures come from the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from planner.documents import load_document, validate
from planner.report.accuracy.figures import (
    FITS,
    Bands,
    Frozen,
    Pick,
    Points,
    Runs,
    bands_inside,
    picked,
    point_error,
    step_errors,
)
from planner.report.accuracy.markdown import number, pair, percent, table
from planner.report.accuracy.sources import Sources

FILE = Path(str(resources.files("planner.report.accuracy") / "bars.yaml"))


class FigureBar(Frozen):
    """A bar of one figure.

    Args:
        what: in words; note: about the figure.
        pick, points: where it comes from, one of them.
        at_most, at_least: what it may be; of signed figures the size counts.
    """

    what: str
    pick: Pick | None = None
    points: Points | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: Literal["percent", "number"] = "percent"
    note: str = ""


class BandsBar(Frozen):
    """All bands of the collectives' sweeps inside their limits."""

    what: str
    bands: Bands


class RunsBar(Frozen):
    """Bars of step times as (median, mean) by fit."""

    what: str
    runs: Runs
    bars: Mapping[Literal["in_sample", "model_out", "family_out"], tuple[float, float]]


class Bars(Frozen):
    """A file of bars."""

    figures: Annotated[tuple[FigureBar, ...], Field(min_length=1)]
    runs: tuple[RunsBar, ...] = ()
    bands: tuple[BandsBar, ...] = ()


Line = tuple[str, str, str, bool | None]
"""What, figure, bar, and whether it is met; None where the figure is missing."""


def load_bars(path: Path = FILE) -> Bars:
    """The bars of a file.

    Raises:
        PlannerError: a faulty file.
    """
    return validate(load_document(path), Bars)


def bar_lines(bars: Bars, sources: Sources) -> Sequence[Line]:
    """Every bar with its figure."""
    return [
        *(_figure_line(bar, sources) for bar in bars.figures),
        *(_bands_line(bar, sources) for bar in bars.bands),
        *(line for bar in bars.runs for line in _runs_lines(bar, sources)),
    ]


def bars_section(sources: Sources, bars: Bars | None = None) -> str:
    """All bars as one table, and how many of them are met."""
    lines = bar_lines(bars or load_bars(), sources)
    known = [met for *_, met in lines if met is not None]
    words = {True: "yes", False: "**no**", None: "-"}
    rows = ((what, figure, bar, words[met]) for what, figure, bar, met in lines)
    intro = f"{sum(known)} of {len(known)} bars are met. Two figures are median / mean.\n\n"
    return intro + table(("what", "figure", "bar", "met"), rows)


def _figure_line(bar: FigureBar, sources: Sources) -> Line:
    value = picked(bar.pick, sources) if bar.pick else None
    value = point_error(bar.points, sources) if bar.points else value
    what = f"{bar.what} ({bar.note})" if bar.note else bar.what
    asked = " and ".join(
        f"{sign} {_printed(limit, bar.unit)}"
        for sign, limit in (("≥", bar.at_least), ("≤", bar.at_most))
        if limit is not None
    )
    if value is None:
        return what, "-", asked, None
    low, high = bar.at_least, bar.at_most
    met = (low is None or value >= low) and (high is None or abs(value) <= high)
    return what, _printed(value, bar.unit), asked, met


def _printed(value: float, unit: str) -> str:
    if unit == "percent":
        return percent(value)
    return f"{value:.0f}" if value == round(value) else number(value)


def _bands_line(bar: BandsBar, sources: Sources) -> Line:
    inside, count = bands_inside(bar.bands, sources)
    asked = ", ".join(f"{name} ≤ {percent(limit, digits=0)}" for name, limit in bar.bands.limits.items())
    return bar.what, f"{inside} of {count}", f"all; {asked}", inside == count if count else None


_WORDS = {"in_sample": "in sample", "model_out": "model left out", "family_out": "family left out"}


def _runs_lines(bar: RunsBar, sources: Sources) -> Iterator[Line]:
    found = step_errors(bar.runs, sources)
    for fit in FITS:
        limits, errors = bar.bars.get(fit), found.errors.get(fit)  # type: ignore[call-overload]
        if limits is None:
            continue
        what = f"step time, {bar.what} ({found.rows} runs), {_WORDS[fit]}"
        if errors is None:
            yield what, "-", f"≤ {pair(*limits)}", None
        else:
            met = all(error <= limit for error, limit in zip(errors, limits, strict=True))
            yield what, pair(*errors), f"≤ {pair(*limits)}", met
