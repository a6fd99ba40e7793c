"""Tables of a comparison of measured kernels or collectives with their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.report.tables import new_table
from planner.units import format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.validation.points import Comparison, Point, Score

FIGURES = ("n", "median", "mean", "p90", "worst", "bias")
BANDS = ("< 1 MiB", "1-64 MiB", ">= 64 MiB", "plateau")
WORDS = ("source", "accelerator", "operator", "sizes", "why", "point", "what")


def show_comparison(console: Console, comparison: Comparison, *, worst: int = 5, quiet: bool = False) -> None:
    """Errors per group; then what is scored apart, the worst points, what was assumed and refused.

    Args:
        worst: how many of the largest errors to list.
        quiet: the groups and the overall line only.
    """
    scores = comparison.scores()
    _print_groups(console, [score for score in scores if score.apart is None])
    console.print(_overall(comparison))
    if quiet:
        return
    _print_groups(console, [score for score in scores if score.apart is not None])
    points = comparison.worst(worst)
    if points:
        console.print(_worst(points))
    for family, assumption in comparison.assumptions.items():
        console.print(f"assumed for {family}: {assumption}")
    for reason, count in comparison.refusals().items():
        console.print(f"refused: {count} × {reason}")


def _print_groups(console: Console, scores: Sequence[Score]) -> None:
    """Kernels by size, collectives by sweep: their groups have other labels."""
    kernels = [score for score in scores if "ranks" not in score.labels]
    collectives = [score for score in scores if "ranks" in score.labels]
    apart = "Scored apart: " if any(score.apart for score in scores) else ""
    if kernels:
        console.print(_kernels(f"{apart}error of kernels beyond rounding", kernels))
    if collectives:
        console.print(_sweeps(f"{apart}median error of collectives beyond rounding, by size", collectives))


def _kernels(title: str, scores: Sequence[Score]) -> Table:
    names = list(dict.fromkeys(name for score in scores for name in score.others))
    headings = ("source", "accelerator", "operator", "sizes", *FIGURES, *names)
    table = new_table(_sentence(title), headings, left=WORDS)
    for score in scores:
        figures = (score.median_ape, score.mean_ape, score.p90_ape, score.worst_ape)
        words = (str(score.labels[name]) for name in ("family", "accelerator", "operator", "band"))
        counted = str(score.n) if score.n == score.predicted else f"{score.predicted} of {score.n}"
        beside = (_median_and_mean(score.others.get(name)) for name in names)
        table.add_row(*words, counted, *map(_percent, figures), _signed(score.bias), *beside)
    return table


def _median_and_mean(errors: tuple[float, float] | None) -> str:
    return "-" if errors is None else f"{100 * errors[0]:.1f} / {100 * errors[1]:.1f} %"


def _sweeps(title: str, scores: Sequence[Score]) -> Table:
    """One line per sweep: its bands side by side."""
    sweeps: dict[tuple[object, ...], list[Score]] = {}
    for score in scores:
        key = (*(value for name, value in score.labels.items() if name != "band"), score.apart)
        sweeps.setdefault(key, []).append(score)
    bands = [band for band in BANDS if any(score.labels["band"] == band for score in scores)]
    apart = any(score.apart for score in scores)
    last = ("why",) if apart else ("worst", "bias")
    headings = ("source", "operator", "ranks", "n", *bands, *last)
    table = new_table(_sentence(title), headings, left=("why",))
    for column in table.columns[:2]:
        column.justify = "left"
    for members in sweeps.values():
        table.add_row(
            *_sweep(members, bands), *((members[0].apart or "",) if apart else _worst_and_bias(members))
        )
    return table


def _sweep(members: Sequence[Score], bands: Sequence[str]) -> list[str]:
    labels = members[0].labels
    medians = {str(score.labels["band"]): score.median_ape for score in members}
    nodes = f" on {labels['nodes']}" if labels["nodes"] else ""
    return [
        str(labels["family"]),
        str(labels["operator"]),
        f"{labels['ranks']}{nodes}",
        str(sum(score.n for score in members)),
        *(_percent(medians.get(band)) for band in bands),
    ]


def _worst_and_bias(members: Sequence[Score]) -> tuple[str, str]:
    """The largest error of a sweep, and the bias of the band that holds most of its points."""
    worst = [score.worst_ape for score in members if score.worst_ape is not None]
    largest = max(members, key=lambda score: score.predicted)
    return _percent(max(worst, default=None)), _signed(largest.bias)


def _overall(comparison: Comparison) -> str:
    overall = comparison.overall()
    parts = [
        f"Each group one vote: median {_percent(overall.macro_median_ape)} (groups of 3 points or more)",
        f"90th percentile {_percent(overall.macro_p90_ape)} (of 5 or more)",
        f"{overall.predicted:,} of {overall.n:,} points predicted",
    ]
    if overall.apart:
        parts.append(
            f"{overall.apart:,} of them scored apart (median {_percent(overall.apart_macro_median_ape)})"
        )
    return "; ".join(parts)


def _worst(points: Sequence[Point]) -> Table:
    table = new_table(
        "Largest errors",
        ("point", "accelerator", "operator", "what", "measured", "predicted", "error"),
        left=WORDS,
    )
    for point in points:
        table.add_row(
            point.id,
            str(point.labels["accelerator"]),
            str(point.labels["operator"]),
            point.subject,
            format_seconds(point.measured_s or 0.0),
            format_seconds(point.predicted_s or 0.0),
            _signed(point.error_beyond),
        )
    return table


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} %"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
