"""Effects of changed hardware figures, with the layout kept and with the layouts searched again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.costs.evaluate import step_times
from planner.errors import PlannerError
from planner.jobs.figures import Figure, figure_of, figures
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.studies.what_if.question import Question
from planner.units import parse_quantity

Progress = Callable[[float, str], None]
Factors = Mapping[str, float]

_PERCENT = re.compile(r"([+-]\s*\d+(?:\.\d+)?)\s*%")
_FACTOR = re.compile(r"x\s*(\d+(?:\.\d*)?|\.\d+)|(\d+(?:\.\d*)?|\.\d+)\s*x")
_SMALL = 0.01
"""Relative change of a figure over which a derivative is taken, to both sides."""


@dataclass(frozen=True)
class Effect:
    """What a change of figures does.

    Args:
        factors: by figure; values: before and after in SI units.
        kept_s: step with the layout kept, None when it no longer fits; kept_change: over its step now, minus one.
        best_s, best_change: the same of the best layout, over the best one now; None when nothing fits any more.
        layout: the best one as knobs; switches: it is another one than now.
        elasticity: relative change of the kept layout's step per relative change of the figure, at the figure's value
            now (d ln T / d ln x); only for one figure.
    """

    factors: Factors
    values: Mapping[str, tuple[float, float]]
    kept_s: float | None
    kept_change: float | None
    best_s: float | None
    best_change: float | None
    layout: Mapping[str, Any] | None
    switches: bool
    elasticity: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        changes = {
            name: {"factor": self.factors[name], "before": before, "after": after}
            for name, (before, after) in self.values.items()
        }
        return {
            "changes": changes,
            "kept": {"step_time_s": self.kept_s, "change": self.kept_change},
            "best": {"step_time_s": self.best_s, "change": self.best_change, "layout": self.layout},
            "layout_switches": self.switches,
            "elasticity": self.elasticity,
        }


def parse_factor(text: str, figure: Figure, *, field: str) -> float:
    """A factor from ``+10%``, ``-20%``, ``2x``, ``x0.5``, or a value with a unit such as ``3 TB/s``.

    Raises:
        PlannerError: none of these, or not above 0.
    """
    percent, times = _PERCENT.fullmatch(text.strip()), _FACTOR.fullmatch(text.strip())
    if percent is not None:
        factor = 1.0 + float(percent[1].replace(" ", "")) / 100.0
    elif times is not None:
        factor = float(times[1] or times[2])
    else:
        try:
            factor = parse_quantity(text.strip(), figure.unit, field=field) / figure.value
        except PlannerError as error:
            raise PlannerError(
                f"{error.message}, or a change such as +10%, -20% or 2x", field=field
            ) from None
    if factor <= 0:
        raise PlannerError(f"found '{text}', which leaves nothing of {figure.name}", field=field)
    return factor


def parse_change(job: Job, text: str, *, field: str = "--change") -> Factors:
    """Figures that change together: ``memory_bandwidth=+10%`` or ``nvlink.bandwidth=2x,memory=141 GB``.

    Raises:
        PlannerError: an unknown figure (the nearest is named), one given twice, or a value that it cannot have.
    """
    factors: dict[str, float] = {}
    for part in text.split(","):
        name, separator, value = (word.strip() for word in part.partition("="))
        if not separator:
            raise PlannerError(
                f"found '{part}'; accepted: FIGURE=CHANGE, for example memory=+10%", field=field
            )
        if name in factors:
            raise PlannerError(f"'{name}' is given twice", field=field)
        factors[name] = parse_factor(value, named(job, name, field=field), field=f"{field} {name}")
    return factors


def named(job: Job, name: str, *, field: str) -> Figure:
    """A figure that a user named in an option.

    Raises:
        PlannerError: there is none of that name.
    """
    try:
        return figure_of(job, name)
    except PlannerError as error:
        raise PlannerError(error.message, field=field) from None


def improved(figure: Figure, factor: float) -> float:
    """The factor on a figure that makes it better by a factor: more of a speed, less of a time."""
    return factor if figure.more_is_better else 1.0 / factor


def single_figures(job: Job) -> tuple[Figure, ...]:
    """The figures that are asked about one by one: all but the peaks of single precisions."""
    return tuple(figure for name, figure in figures(job).items() if not name.startswith("peak_flops."))


def standard_changes(job: Job, step: float) -> tuple[Factors, ...]:
    """Each figure better by a step: +10 % of speeds and sizes, -10 % of times, for a step of 0.1."""
    return tuple(
        {each.name: 1.0 + step if each.more_is_better else 1.0 - step} for each in single_figures(job)
    )


def effects_of(
    question: Question, changes: Sequence[Factors], progress: Progress | None = None
) -> tuple[Effect, ...]:
    """What each change does, in the order given; a figure that is scaled takes what moves with it along."""
    result = []
    for done, factors in enumerate(changes):
        if progress is not None:
            progress(done / len(changes), f"what if {', '.join(factors)}")
        result.append(_effect(question, factors))
    return tuple(result)


def _effect(question: Question, factors: Factors) -> Effect:
    job = scaled(question.job, factors)
    kept, best = question.seconds(job), question.search(job)
    single = next(iter(factors)) if len(factors) == 1 else None
    return Effect(
        factors=factors,
        values={name: (figure_of(question.job, name).value, figure_of(job, name).value) for name in factors},
        kept_s=kept,
        kept_change=None if kept is None else kept / question.step_time_s - 1.0,
        best_s=None if best is None else best.step_time_s,
        best_change=None if best is None else best.step_time_s / question.best.step_time_s - 1.0,
        layout=None if best is None else layout_to_knobs(best.layout),
        switches=best is not None and best.layout != question.best.layout,
        elasticity=None if single is None else elasticity(question.job, question.kept, single),
    )


def scaled(job: Job, factors: Factors) -> Job:
    """The job with figures multiplied."""
    for name, factor in factors.items():
        job = figure_of(job, name).scale(job, factor)
    return job


def elasticity(job: Job, layout: Layout, name: str) -> float:
    """d ln T / d ln x of a layout's step over one figure, by a central difference; whether it fits is left aside."""
    rows = from_layouts([layout])
    slower, faster = (
        float(step_times(scaled(job, {name: 1.0 + change}), rows)[0]) for change in (-_SMALL, _SMALL)
    )
    return math.log(faster / slower) / math.log((1.0 + _SMALL) / (1.0 - _SMALL))
