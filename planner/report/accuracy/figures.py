"""Single figures out of the answers of the validation commands."""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.errors import PlannerError
from planner.report.accuracy.sources import Json, Sources

Statistic = Literal["median", "mean", "largest", "smallest", "count"]
"""How values become one figure; ``largest``: by size, ``count``: how many objects there are, of which 0 is a figure too."""

_STATISTICS: Mapping[Statistic, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "largest": lambda values: max(values, key=abs),
    "smallest": min,
    "count": len,
}

FITS = ("in_sample", "model_out", "family_out")


class Frozen(BaseModel):
    """Base of what stands in a file of bars."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pick(Frozen):
    """A figure that stands in the answers.

    Args:
        at: path to a number, or to a list of objects; names joined by dots, the first an answer (runs, priors, left_out, ...).
        where: of a list, a pattern or several that fields match.
        field, statistic: what of those objects, and how it becomes one figure.
        over: paths of numbers whose sum the figure is a share of.
    """

    at: str
    where: Mapping[str, str | tuple[str, ...]] = Field(default_factory=dict)
    field: str | None = None
    statistic: Statistic = "largest"
    over: tuple[str, ...] = ()


class Points(Frozen):
    """Errors of measured kernels beyond rounding, all points as one.

    Args:
        operator: pattern; other: whose predictions, as the answer names them.
    """

    operator: str
    other: str
    statistic: Statistic = "median"


class Bands(Frozen):
    """Share of the bands of collectives' sweeps whose median error is inside a limit.

    Args:
        other: whose predictions; limits: by band.
    """

    other: str
    limits: Mapping[str, float]


class Runs(Frozen):
    """Step times of complete runs without experts, one vote each; patterns, any where empty."""

    families: tuple[str, ...]
    accelerators: tuple[str, ...] = ("*",)
    precisions: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class StepErrors:
    """Absolute errors of step times.

    Args:
        rows: how many; errors: (median, mean) by fit.
    """

    rows: int
    errors: Mapping[str, tuple[float, float]]


def picked(pick: Pick, sources: Sources) -> float | None:
    """The figure, None where the answers lack it."""
    found = _at(pick.at, sources)
    if isinstance(found, list):
        found = _reduced([item for item in found if _matches(item, pick.where)], pick)
    if found is None or not pick.over:
        return None if found is None else float(found)
    whole = sum(float(_at(path, sources) or 0.0) for path in pick.over)
    return float(found) / whole if whole else None


def _reduced(objects: Sequence[Json], pick: Pick) -> float | None:
    if pick.statistic == "count":
        return float(len(objects))
    values = [value for item in objects if (value := _inside(item, pick.field or "")) is not None]
    return _STATISTICS[pick.statistic](values) if values else None


def _at(path: str, sources: Sources) -> Any:
    answer, _, rest = path.partition(".")
    if not hasattr(sources, answer):
        raise PlannerError(f"'{path}' names no answer", field="at")
    return _inside(getattr(sources, answer), rest)


def _inside(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _matches(item: Json, where: Mapping[str, str | tuple[str, ...]]) -> bool:
    return all(
        _like(str(_inside(item, name)), (allowed,) if isinstance(allowed, str) else allowed)
        for name, allowed in where.items()
    )


def _like(value: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def point_error(points: Points, sources: Sources) -> float | None:
    """One figure over all points, None without any."""
    errors = [
        max(abs(row["others"][points.other] - row["measured_s"]) - row["half_width_s"], 0.0)
        / row["measured_s"]
        for row in sources.kernels["rows"]
        if fnmatch.fnmatchcase(row["operator"], points.operator)
        and row["apart"] is None
        and row["others"].get(points.other) is not None
    ]
    return _STATISTICS[points.statistic](errors) if errors else None


def bands_inside(bands: Bands, sources: Sources) -> tuple[int, int]:
    """Bands within their limit, and bands."""
    found = [
        (band["median_ape"][bands.other], bands.limits[band["band"]])
        for sweep in sources.collectives["sweeps"]
        if sweep["apart"] is None
        for band in sweep["bands"]
        if band["median_ape"].get(bands.other) is not None
    ]
    return sum(error <= limit for error, limit in found), len(found)


def step_errors(chosen: Runs, sources: Sources) -> StepErrors:
    """Errors of runs, of those that the fit predicted left out too."""
    stored = sources.left_out or {}
    fields = stored.get("row_fields") or []
    left_out = {row[0]: dict(zip(fields, row, strict=True)) for row in stored.get("rows") or ()}
    found: dict[str, list[float]] = {fit: [] for fit in FITS}
    rows = list(_chosen(chosen, sources.runs["rows"]))
    for row in rows:
        other = left_out.get(row["id"]) or {}
        seconds = {fit: other.get(f"{fit}_s") for fit in FITS} | {"in_sample": row["predicted_s"]}
        for fit, predicted in seconds.items():
            if predicted is not None:
                found[fit].append(abs(predicted / row["measured_s"] - 1.0))
    errors = {
        fit: (statistics.median(values), statistics.fmean(values)) for fit, values in found.items() if values
    }
    return StepErrors(len(rows), errors)


def _chosen(chosen: Runs, rows: Sequence[Json]) -> Iterator[Json]:
    for row in rows:
        patterns = (
            (row["family"], chosen.families),
            (row["accelerator"], chosen.accelerators),
            (str(row["precision"]), chosen.precisions),
        )
        scored = row["scored"] == "complete" and not row["experts"] and row["error"] is not None
        if scored and all(_like(value, allowed) for value, allowed in patterns):
            yield row
