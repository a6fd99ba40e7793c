"""The smallest improvement of each single hardware figure that reaches a step time, and the cheapest of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.jobs.figures import Figure
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.studies.what_if.changes import Progress, improved, named, single_figures
from planner.studies.what_if.question import Best, Question
from planner.units import parse_quantity

MOST = 16.0
"""Improvements beyond this factor are not looked for."""

PRECISION = 1.001
"""The smallest improvement is found within this factor."""


@dataclass(frozen=True)
class Need:
    """What one figure must become.

    Args:
        figure: name; words: for tables; unit: of the value.
        factor: on the figure; None when no factor up to ``MOST`` reaches the target. before, after: its values.
        best_s: step with that change, or with the largest one that was tried; None when nothing fits.
        layout: that reaches it, as knobs.
        cost: of the change in the user's currency; None without a price for the figure.
    """

    figure: str
    words: str
    unit: str
    factor: float | None
    before: float
    after: float | None
    best_s: float | None
    layout: Mapping[str, Any] | None
    cost: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "figure": self.figure,
            "factor": self.factor,
            "before": self.before,
            "after": self.after,
            "step_time_s": self.best_s,
            "layout": self.layout,
            "cost": self.cost,
        }


@dataclass(frozen=True)
class Target:
    """The needs for one step time, the best choice first.

    Args:
        step_time_s: to reach; largest_factor: that was tried.
        needs: by cost where prices are given, then by the factor; unreachable ones last.
    """

    step_time_s: float
    largest_factor: float
    needs: tuple[Need, ...]

    @property
    def met(self) -> bool:
        """Whether nothing need change."""
        return all(need.factor == 1.0 for need in self.needs)

    @property
    def unreachable(self) -> bool:
        """Whether no figure alone reaches it."""
        return all(need.factor is None for need in self.needs)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "step_time_s": self.step_time_s,
            "largest_factor": self.largest_factor,
            "needs": [need.to_json() for need in self.needs],
        }


def parse_prices(job: Job, texts: Sequence[str], *, field: str = "--price") -> Mapping[str, float]:
    """Money by figure from ``nvlink.bandwidth=1000``.

    Raises:
        PlannerError: an unknown figure, one given twice, or no amount.
    """
    prices: dict[str, float] = {}
    for text in texts:
        name, separator, amount = (word.strip() for word in text.partition("="))
        if not separator:
            raise PlannerError(
                f"found '{text}'; accepted: FIGURE=MONEY, for example memory=2000", field=field
            )
        named(job, name, field=field)
        if name in prices:
            raise PlannerError(f"'{name}' is given twice", field=field)
        prices[name] = parse_quantity(amount, "usd", field=f"{field} {name}")
    return prices


def needs_for(
    question: Question,
    target_s: float,
    prices: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    *,
    most: float = MOST,
) -> Target:
    """What each single figure must become so that some layout makes a step within ``target_s``.

    The best step never gets longer when a figure gets better, so the smallest improvement is found by bisection, each probe
    a search of all layouts that are within the target.

    Args:
        prices: by figure, money for as much of it again as there is (for a time: for halving it).
        most: largest improvement to look for.
    """
    known = prices or {}
    wanted = [figure for figure in single_figures(question.job) if not known or figure.name in known]
    needs = []
    for done, figure in enumerate(wanted):
        if progress is not None:
            progress(done / len(wanted), f"how much {figure.words}")
        needs.append(_need(question, figure, target_s, known.get(figure.name), most))
    infinite = float("inf")

    def order(need: Need) -> tuple[float, float]:
        factor = infinite if need.factor is None else abs(math.log(need.factor))
        return (infinite if need.cost is None else need.cost, factor)

    return Target(target_s, most, tuple(sorted(needs, key=order)))


def _need(question: Question, figure: Figure, target_s: float, price: float | None, most: float) -> Need:
    factor, best = smallest_improvement(question, figure, target_s, most)
    if factor is None:
        job = figure.scale(question.job, improved(figure, most))
        best = question.search(job)
    on_figure = None if factor is None else improved(figure, factor)
    return Need(
        figure=figure.name,
        words=figure.words,
        unit=figure.unit,
        factor=on_figure,
        before=figure.value,
        after=None if on_figure is None else figure.value * on_figure,
        best_s=None if best is None else best.step_time_s,
        layout=None if best is None else layout_to_knobs(best.layout),
        cost=None if price is None or factor is None else price * (factor - 1.0),
    )


def smallest_improvement(
    question: Question, figure: Figure, target_s: float, most: float = MOST
) -> tuple[float | None, Best | None]:
    """The least factor by which a figure must be better (1: none), and the best layout with it; None: not up to ``most``."""

    def reached(factor: float) -> Best | None:
        return question.search(figure.scale(question.job, improved(figure, factor)), within_s=target_s)

    if question.best.step_time_s <= target_s:
        return 1.0, question.best
    enough, best = most, reached(most)
    if best is None:
        return None, None
    too_little = 1.0
    while enough / too_little > PRECISION:
        middle = math.sqrt(enough * too_little)
        found = reached(middle)
        if found is None:
            too_little = middle
        else:
            enough, best = middle, found
    return enough, best
