"""``plan validate runs``: published training runs against the whole model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import NoAnswerError, PlannerError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.cli.output import ProgressCall
    from planner.validation.runs.clusters import Constants
    from planner.validation.runs.rows import RunRow
    from planner.validation.runs.score import Score


@click.command(name="runs")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option("--family", "families", metavar="NAME", multiple=True, help="Only these families of rows.")
@click.option("--limit", metavar="N", help="Only the first N rows.")
@click.option("--priors", is_flag=True, help="Predict from the priors alone, without any fitted constant.")
@click.option("--calibration", metavar="FILE", help="Fitted constants instead of the catalogue's.")
@click.option("--worst", metavar="N", default="10", show_default=True, help="List the N largest errors.")
@click.option("--plot", metavar="FILE", help="Draw predicted against measured (.png, .svg, .pdf).")
@click.option("--page", metavar="FILE", help="Renew the tables between the marks of this Markdown page.")
@click.option(
    "--bar", metavar="SHARE", help="Exit with 1 when the mean of the groups' medians is above, e.g. 10%."
)
@output_options
def command(output: Output, **request: Any) -> None:
    """Compare published runs (YAML files of rows, or folders of them) with predictions of step time and memory."""
    _answer(output, **request)


def _answer(
    output: Output,
    *,
    paths: tuple[str, ...],
    families: tuple[str, ...],
    limit: str | None,
    priors: bool,
    calibration: str | None,
    worst: str,
    plot: str | None,
    page: str | None,
    bar: str | None,
) -> None:
    from planner.units import parse_count

    if plot is not None:
        from planner.report.pictures import check_picture

        check_picture(plot)
        check_target(plot)
    if page is not None:
        from planner.report.accuracy.held_out import read_page

        read_page(page)
    allowed = None if bar is None else _share(bar)
    listed = parse_count(worst, field="--worst")
    most = None if limit is None else parse_count(limit, field="--limit")
    if most is not None and most < 1:
        raise PlannerError(f"found '{limit}'; at least 1", field="--limit")
    constants = _constants(priors, calibration)
    started = time.perf_counter()
    with output.progress() as progress:
        score = _score(chosen_rows(paths, families, most), constants, progress)
    _print(output, score, time.perf_counter() - started, listed)
    if plot is not None:
        from planner.report.runs_plot import draw_runs

        draw_runs(plot, score.outcomes)
        output.note(f"picture: {plot}")
    if page is not None:
        _renew(page, score)
        output.note(f"page: {page}")
    if allowed is not None:
        _judge(score, allowed)


def chosen_rows(paths: Sequence[str], families: Sequence[str], limit: int | None = None) -> list[RunRow]:
    """The rows of files or folders.

    Args:
        families: only these; all when there are none. limit: only the first ones.

    Raises:
        PlannerError: unreadable files, or a family without rows.
    """
    from planner.validation.runs.reading import read_rows
    from planner.validation.runs.votes import load_votes

    rows, votes = list(read_rows(paths)), load_votes()
    known = sorted({name for row in rows for name in (row.family, votes.family(row))})
    for name in families:
        if name not in known:
            raise PlannerError(f"no row is of the family '{name}'; {suggest(name, known)}", field="--family")
    chosen = [row for row in rows if not families or {row.family, votes.family(row)} & set(families)]
    return chosen[:limit]


def _constants(priors: bool, calibration: str | None) -> Constants:
    from planner.validation.runs.clusters import Constants

    if calibration is None:
        return Constants(fitted=not priors)
    if priors:
        raise click.UsageError("--priors and --calibration exclude each other")
    from planner.hardware.calibration import load_calibration

    load_calibration(Path(calibration))  # a faulty file is one error, not a refusal of every row
    return Constants(file=str(Path(calibration).absolute()))


def _score(rows: list[RunRow], constants: Constants, progress: ProgressCall) -> Score:
    from planner.validation.runs.outcome import outcomes
    from planner.validation.runs.score import score
    from planner.validation.runs.votes import load_votes

    return score(outcomes(rows, load_votes(), progress, constants))


def _print(output: Output, score: Score, seconds: float, worst: int) -> None:
    from planner.report.validation import show_score
    from planner.validation.runs.result import to_json

    output.emit(
        to_json(score, seconds),
        lambda console: show_score(console, score, worst=worst, quiet=output.quiet),
    )
    output.note(f"{len(score.outcomes)} rows in {seconds:.1f} s")


def _renew(page: str, score: Score) -> None:
    from planner.documents import write_text
    from planner.report.accuracy.held_out import read_page, renewed_page
    from planner.validation.runs.result import to_json

    write_text(page, renewed_page(read_page(page), to_json(score, 0.0), page))


def _share(text: str) -> float:
    from planner.units import parse_quantity

    value = parse_quantity(text, "1", field="--bar", allow_zero=False)
    if value > 1:
        raise PlannerError(f"found '{text}'; a share such as 10% or 0.1", field="--bar")
    return value


def _judge(score: Score, allowed: float) -> None:
    reached = score.overall.macro_median_ape
    if reached is None:
        raise NoAnswerError("the bar is missed: no group has three complete, predicted rows")
    if reached > allowed:
        raise NoAnswerError(
            f"the bar is missed: median error {100 * reached:.1f} %, {100 * allowed:.1f} % allowed"
        )
