"""Where the best layout switches while one hardware figure varies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.jobs.figures import Figure
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layout import Layout
from planner.studies.what_if.changes import Progress, named, parse_factor
from planner.studies.what_if.question import Best, Question

POINTS = 17
"""Values of the figure, evenly in the logarithm, between which switches are looked for."""

PRECISION = 1.005
"""A switch is located within this factor of the figure."""


@dataclass(frozen=True)
class Point:
    """One value of the figure: the best layout there, and the step with the layout of today kept (None: does not fit)."""

    value: float
    best: Best | None
    kept_s: float | None


@dataclass(frozen=True)
class Span:
    """A range of values with one best layout.

    Args:
        begin, end: values in SI units; the switch lies between one span's end and the next one's begin.
        layout: the best one there, as knobs; None where nothing fits.
        begin_s, end_s: its step at both ends.
        now: today's value lies in it.
    """

    begin: float
    end: float
    layout: Mapping[str, Any] | None
    begin_s: float | None
    end_s: float | None
    now: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "begin": self.begin,
            "end": self.end,
            "layout": self.layout,
            "begin_step_time_s": self.begin_s,
            "end_step_time_s": self.end_s,
            "now": self.now,
        }


@dataclass(frozen=True)
class Vary:
    """How the best layout follows one figure.

    Args:
        figure: name; words: for tables; unit, now: of its value.
        points: all that were searched, by value; spans: of equal best layouts.
    """

    figure: str
    words: str
    unit: str
    now: float
    points: tuple[Point, ...]
    spans: tuple[Span, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "figure": self.figure,
            "now": self.now,
            "spans": [span.to_json() for span in self.spans],
            "points": [
                {
                    "value": point.value,
                    "best_step_time_s": None if point.best is None else point.best.step_time_s,
                    "kept_step_time_s": point.kept_s,
                }
                for point in self.points
            ],
        }


def parse_range(job: Job, text: str, *, field: str = "--vary") -> tuple[Figure, float, float]:
    """A figure with the factors between which it varies: ``memory_bandwidth=0.5x..4x`` or ``...=1 TB/s..8 TB/s``.

    Raises:
        PlannerError: an unknown figure, no range, or an empty one.
    """
    name, separator, values = (word.strip() for word in text.partition("="))
    low, dots, high = values.partition("..")
    if not separator or not dots:
        example = "memory_bandwidth=0.5x..4x"
        raise PlannerError(f"found '{text}'; accepted: FIGURE=FROM..TO, for example {example}", field=field)
    figure = named(job, name, field=field)
    ends = tuple(parse_factor(end, figure, field=f"{field} {name}") for end in (low, high))
    if ends[0] >= ends[1]:
        raise PlannerError(f"found '{values}'; accepted: FROM below TO", field=f"{field} {name}")
    return figure, ends[0], ends[1]


def vary(
    question: Question, figure: Figure, low: float, high: float, progress: Progress | None = None
) -> Vary:
    """The best layout over a range of one figure, with the switches located by bisection.

    Between neighbours of a grid whose best layouts differ, the middle is searched until switches are located. A layout that is
    best only strictly between two grid points with the same best layout is not seen.

    Args:
        low, high: factors on the figure's value now.
    """
    factors = [low * (high / low) ** (place / (POINTS - 1)) for place in range(POINTS)]
    # today's value is a point of the grid, so that today's layout has its span
    factors = sorted({*factors, *([1.0] if low < 1.0 < high else [])})
    probe = _Probe(question, figure)
    points: list[Point] = []
    for done, factor in enumerate(factors):
        if progress is not None:
            progress(done / len(factors), f"{figure.words} x{factor:.3g}")
        point = probe.at(factor, [layout_at(other) for other in points[-1:]])
        if points:
            points += _between(probe, points[-1], point)
        points.append(point)
    return Vary(
        figure.name,
        figure.words,
        figure.unit,
        figure.value,
        tuple(points),
        tuple(_spans(points, figure.value)),
    )


@dataclass(frozen=True)
class _Probe:
    """Searches at values of one figure."""

    question: Question
    figure: Figure

    def at(self, factor: float, known: Sequence[Layout | None] = ()) -> Point:
        """The point at a factor; ``known``: layouts that may be the best there."""
        job = self.figure.scale(self.question.job, factor)
        near = [layout for layout in known if layout is not None]
        return Point(
            self.figure.value * factor, self.question.search(job, known=near), self.question.seconds(job)
        )


def _between(probe: _Probe, left: Point, right: Point) -> list[Point]:
    """The points that locate every switch between two others."""
    ends = layout_at(left), layout_at(right)
    if ends[0] == ends[1] or right.value / left.value <= PRECISION:
        return []
    middle = probe.at(math.sqrt(left.value * right.value) / probe.figure.value, ends)
    return [*_between(probe, left, middle), middle, *_between(probe, middle, right)]


def layout_at(point: Point) -> Layout | None:
    """The best layout at a point; None where nothing fits."""
    return None if point.best is None else point.best.layout


def _spans(points: list[Point], now: float) -> Iterator[Span]:
    begin = 0
    for place in range(1, len(points) + 1):
        if place < len(points) and layout_at(points[place]) == layout_at(points[begin]):
            continue
        first, last = points[begin], points[place - 1]
        # today's value may lie beside a point by rounding
        here = first.value * (1.0 - 1e-9) <= now <= last.value * (1.0 + 1e-9)
        layout = layout_at(first)
        yield Span(
            begin=first.value,
            end=last.value,
            layout=None if layout is None else layout_to_knobs(layout),
            begin_s=None if first.best is None else first.best.step_time_s,
            end_s=None if last.best is None else last.best.step_time_s,
            now=here,
        )
        begin = place
