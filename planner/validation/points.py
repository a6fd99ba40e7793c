"""Measured timings beside what the model says of them, and the scores of groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

Labels = Mapping[str, str | int]

MACRO_MEDIAN_POINTS, MACRO_P90_POINTS = 3, 5
"""Points that a group needs before its median, or its 90th percentile, has a vote in the overall figure."""


OF_RUNS_ONLY: Mapping[str, None] = MappingProxyType(
    dict.fromkeys(("kendall_tau", "regret_mean", "coverage", "interval_width_median"))
)
"""Figures of groups of runs that single timings have not: they choose among no layouts and carry no interval. They are
in the answer, as null, so that one reader suits all validations."""


@dataclass(frozen=True)
class Point:
    """One measured timing and its prediction.

    Args:
        id: unique in one answer.
        labels: the group that the point belongs to: family, accelerator, operator, and what else tells groups apart.
        subject: what was measured, in words: the sizes.
        measured_s: the published time; None where it follows only from the prediction of a point that is refused.
        half_width_s: half of the last digit that the source prints: errors inside it are none.
        predicted_s: None where the model cannot price the point.
        refused_because: then the reason.
        apart: why the point is predicted but scored apart: its conditions are not stated, or its source doubts it.
        others: seconds by other constants than those under test, by what these are (priors only, left out).
    """

    id: str
    labels: Labels
    subject: str
    measured_s: float | None
    half_width_s: float
    predicted_s: float | None
    refused_because: str | None = None
    apart: str | None = None
    others: Mapping[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """predicted / measured - 1; None where nothing is predicted."""
        if self.predicted_s is None or self.measured_s is None:
            return None
        return self.predicted_s / self.measured_s - 1

    @property
    def error_beyond(self) -> float | None:
        """The error less what rounding of the measurement explains, with its sign."""
        return None if self.predicted_s is None else self.beyond(self.predicted_s)

    def beyond(self, seconds: float) -> float | None:
        """The same of another prediction; None where nothing is measured."""
        if self.measured_s is None:
            return None
        difference = seconds - self.measured_s
        size = max(abs(difference) - self.half_width_s, 0.0) / self.measured_s
        return size if difference > 0 else -size


@dataclass(frozen=True)
class Score:
    """The errors of one group, beyond the rounding of its data; None where nothing of it is predicted.

    Args:
        labels: of the group.
        n, predicted: points, and those of them that the model prices.
        median_ape, mean_ape, p90_ape, worst_ape: of the absolute errors (0.1 is 10 %).
        bias: median of the signed errors; positive is too slow.
        apart: why its points are scored apart, None where they count.
        others: median and mean of the absolute errors by other constants.
    """

    labels: Labels
    n: int
    predicted: int
    median_ape: float | None
    mean_ape: float | None
    p90_ape: float | None
    worst_ape: float | None
    bias: float | None
    apart: str | None = None
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Overall:
    """All groups with one vote each, except those scored apart.

    Args:
        macro_median_ape: mean of the medians of groups of three predicted points or more.
        macro_p90_ape: mean of the 90th percentiles of groups of five or more.
        n, predicted, refused: points.
        apart: those of them that are scored apart.
        apart_macro_median_ape: the macro median of their groups.
    """

    macro_median_ape: float | None
    macro_p90_ape: float | None
    n: int
    predicted: int
    refused: int
    apart: int
    apart_macro_median_ape: float | None


@dataclass(frozen=True)
class Comparison:
    """All points of one validation, with what had to be assumed to price them.

    Args:
        points: in the order of the files.
        assumptions: by family, what its source does not say and the prediction takes for granted.
    """

    points: tuple[Point, ...]
    assumptions: Mapping[str, str] = field(default_factory=dict)

    def scores(self) -> list[Score]:
        """One score per group, in the order in which the groups appear."""
        groups: dict[tuple[object, ...], list[Point]] = {}
        for point in self.points:
            groups.setdefault((*point.labels.items(), point.apart), []).append(point)
        return [_score(members) for members in groups.values()]

    def overall(self) -> Overall:
        """All groups together."""
        scores = self.scores()
        counted = [score for score in scores if score.apart is None]
        apart = [score for score in scores if score.apart is not None]
        predicted = sum(score.predicted for score in scores)
        return Overall(
            macro_median_ape=_macro_median(counted),
            macro_p90_ape=_mean(s.p90_ape for s in counted if s.predicted >= MACRO_P90_POINTS),
            n=len(self.points),
            predicted=predicted,
            refused=len(self.points) - predicted,
            apart=sum(score.n for score in apart),
            apart_macro_median_ape=_macro_median(apart),
        )

    def refusals(self) -> dict[str, int]:
        """How many points each reason refused, the commonest first."""
        counts: dict[str, int] = {}
        for point in self.points:
            if point.refused_because is not None:
                counts[point.refused_because] = counts.get(point.refused_because, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def worst(self, count: int) -> list[Point]:
        """The points with the largest errors beyond rounding, of those that are not scored apart."""
        known = [point for point in self.points if point.error_beyond is not None and point.apart is None]
        return sorted(known, key=lambda point: -abs(point.error_beyond or 0.0))[:count]

    def to_json(self) -> dict[str, Any]:
        """Groups, overall, rows as ``plan validate --json`` prints them; docs/validation-points.md names the fields."""
        return {
            "groups": [_group_json(score) for score in self.scores()],
            "overall": vars(self.overall()).copy(),
            "refused": self.refusals(),
            "assumptions": dict(self.assumptions),
            "rows": [_row_json(point) for point in self.points],
        }


def joined(comparisons: Sequence[Comparison]) -> Comparison:
    """Several comparisons as one."""
    assumptions: dict[str, str] = {}
    for comparison in comparisons:
        assumptions |= comparison.assumptions
    return Comparison(tuple(point for part in comparisons for point in part.points), assumptions)


def printed_half_width(values: Iterable[float]) -> float:
    """Half of the last digit in which a column of a source is printed, in its own unit.

    The last digit is the coarsest, at most 1, of which at least half of the values are multiples: the mean of two
    whole numbers ends on .5 and makes no finer column, and of values printed more finely only one in ten ends on zero.
    """
    column = np.asarray(list(values), dtype=np.float64)
    for decimals in range(7):
        scaled = column * 10.0**decimals
        whole = np.abs(scaled - np.round(scaled)) <= 1e-9 * np.maximum(np.abs(scaled), 1.0)
        if len(column) and whole.mean() >= 0.5:
            return float(0.5 * 10.0**-decimals)
    return 0.0


def _score(points: Sequence[Point]) -> Score:
    signed = np.array([point.error_beyond for point in points if point.error_beyond is not None])
    if not len(signed):
        return Score(points[0].labels, len(points), 0, None, None, None, None, None, points[0].apart)
    size = np.abs(signed)
    return Score(
        labels=points[0].labels,
        n=len(points),
        predicted=len(signed),
        median_ape=float(np.median(size)),
        mean_ape=float(size.mean()),
        p90_ape=float(np.quantile(size, 0.9)),
        worst_ape=float(size.max()),
        bias=float(np.median(signed)),
        apart=points[0].apart,
        others=_others(points),
    )


def _others(points: Sequence[Point]) -> dict[str, tuple[float, float]]:
    """Median and mean absolute error of each further prediction, over the points that have it."""
    errors: dict[str, list[float]] = {}
    for point in points:
        for name, seconds in point.others.items():
            beyond = point.beyond(seconds)
            if beyond is not None:
                errors.setdefault(name, []).append(abs(beyond))
    return {name: (float(np.median(sizes)), float(np.mean(sizes))) for name, sizes in errors.items()}


def _macro_median(scores: Iterable[Score]) -> float | None:
    return _mean(score.median_ape for score in scores if score.predicted >= MACRO_MEDIAN_POINTS)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _group_json(score: Score) -> dict[str, Any]:
    figures = {name: value for name, value in vars(score).items() if name not in ("labels", "others")}
    figures["others"] = {
        name: {"median_ape": median, "mean_ape": mean} for name, (median, mean) in score.others.items()
    }
    return {**score.labels, **figures, **OF_RUNS_ONLY}


def _row_json(point: Point) -> dict[str, Any]:
    return {
        "id": point.id,
        **point.labels,
        "subject": point.subject,
        "measured_s": point.measured_s,
        "half_width_s": point.half_width_s,
        "predicted_s": point.predicted_s,
        "others": dict(point.others),
        "interval_s": None,
        "error": point.error,
        "error_beyond": point.error_beyond,
        "refused_because": point.refused_because,
        "apart": point.apart,
    }
