"""What ``plan validate kernels`` and ``plan validate collectives`` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import NoAnswerError, PlannerError

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.output import ProgressCall
    from planner.validation.points import Comparison

Compare = Callable[[tuple[str, ...], "ProgressCall"], "Comparison"]
Also = Callable[["Console", Any], None]


def comparison_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``PATH...`` and how the answer is shown; the command hands all of it to ``show``."""

    @click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
    @click.option("--plot", metavar="FILE", help="Draw predicted against measured (.png, .svg, .pdf).")
    @click.option("--worst", metavar="N", default="5", show_default=True, help="List the N largest errors.")
    @click.option(
        "--bar", metavar="SHARE", help="Exit with 1 when the groups' mean median error is above, e.g. 10%."
    )
    @output_options
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapped


def show(
    output: Output,
    compare: Compare,
    title: str,
    *,
    paths: tuple[str, ...],
    plot: str | None,
    worst: str,
    bar: str | None,
    also: Also = lambda console, comparison: None,
) -> None:
    """Compare, print, draw, and judge by the bar.

    Args:
        also: prints what one kind of comparison has beside the scores of its groups.

    Raises:
        PlannerError: bad input.
        NoAnswerError: the bar is missed.
    """
    from planner.report.pictures import check_picture
    from planner.units import parse_count

    if plot is not None:
        check_picture(plot)
        check_target(plot)
    limit = None if bar is None else _share(bar)
    listed = parse_count(worst, field="--worst")
    with output.progress() as progress:
        comparison = compare(paths, progress)
    _print(output, comparison, listed, also)
    if plot is not None:
        from planner.report.validation_plot import draw_comparison

        draw_comparison(plot, comparison, title)
        output.note(f"picture: {plot}")
    if limit is not None:
        _judge(comparison, limit)


def _print(output: Output, comparison: Comparison, worst: int, also: Also) -> None:
    from planner.report.validation_tables import show_comparison

    def tables(console: Console) -> None:
        show_comparison(console, comparison, worst=worst, quiet=output.quiet)
        also(console, comparison)

    output.emit(comparison.to_json(), tables)


def _share(text: str) -> float:
    from planner.units import parse_quantity

    value = parse_quantity(text, "1", field="--bar", allow_zero=False)
    if value > 1:
        raise PlannerError(f"found '{text}'; a share such as 10% or 0.1", field="--bar")
    return value


def _judge(comparison: Comparison, limit: float) -> None:
    reached = comparison.overall().macro_median_ape
    if reached is None:
        raise NoAnswerError(
            "the bar is missed: no group has three predicted points that are not scored apart"
        )
    if reached > limit:
        raise NoAnswerError(
            f"the bar is missed: median error {100 * reached:.1f} %, {100 * limit:.1f} % allowed"
        )
