"""Tables of ``plan validate runs``: errors by group, memory, worst rows, what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from planner.report.experts import show_experts
from planner.report.tables import NARROW, new_table
from planner.validation.runs.groups import FLAT_ENOUGH, SKILL_BARS

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.runs.groups import Group
    from planner.validation.runs.outcome import Outcome
    from planner.validation.runs.score import Score
    from planner.validation.runs.sets import LayoutSet
    from planner.validation.runs.statistics import ErrorSummary

LARGE_REGRET = 0.08
MOST_REASONS = 12
MOST_ASSIGNMENTS = 12


def show_score(console: Console, score: Score, *, worst: int, quiet: bool) -> None:
    """Print the result for people.

    Args:
        worst: how many of the largest errors to list.
        quiet: the first table only.
    """
    _groups(console, "Step time of complete rows, % error", score.groups)
    if quiet:
        return
    _overall(console, score)
    if score.doubtful:
        _groups(console, "Scored apart: rows with a quirk or on the exclusion list", score.doubtful)
    _incomplete(console, score)
    _memory(console, score)
    _fits(console, score)
    if score.experts is not None:
        show_experts(console, score.experts)
    _sets(console, score.sets, worst)
    _worst(console, score.worst(worst))
    _reasons(console, "Refused or not scored", score.refused)
    _reasons(console, "Assumed or priced as something near", score.approximated)


def _groups(console: Console, title: str, groups: Iterable[Group]) -> None:
    wide = console.width >= NARROW
    extra = ["tau", "regret", "covered", "width"] if wide else []
    headings = [
        "family",
        "accelerator",
        "rows",
        "votes",
        "median",
        "mean",
        "p90",
        "bias",
        "flat mean",
        "skill",
    ]
    table = new_table(title, [*headings, *extra], left=("family", "accelerator"))
    for group in groups:
        family, accelerator = (str(part) for part in group.key[:2])
        rows = f"{group.predicted}" if group.predicted == group.n else f"{group.predicted}/{group.n}"
        cells = [family, accelerator, rows, str(group.votes)]
        errors = group.errors
        if errors is None:
            table.add_row(*cells, *(["-"] * 6), *(["-"] * len(extra)))
            continue
        cells += [_percent(v) for v in (errors.median_ape, errors.mean_ape, errors.p90_ape)]
        cells += [_percent(errors.bias, sign=True), _percent(_mean(group.flat_mfu)), _skill(group)]
        if wide:
            tau = "-" if group.kendall_tau is None else f"{group.kendall_tau:.2f}"
            cells += [tau, _percent(group.regret_mean), _percent(group.coverage, digits=0)]
            cells.append(_percent(group.interval_width_median, digits=0))
        table.add_row(*cells)
    console.print(table)


def _skill(group: Group) -> str:
    """Mean error over that of one constant utilisation; marked where it is above its bar."""
    if group.skill is None:
        return "-"
    return f"{group.skill:.2f}{'!' if group.skilled is False else ''}"


def _overall(console: Console, score: Score) -> None:
    overall = score.overall
    console.print(
        f"{overall.predicted} of {overall.n} complete rows predicted, {overall.refused} refused."
        f" Mean over groups, one vote each: median {_percent(overall.macro_median_ape)} %,"
        f" p90 {_percent(overall.macro_p90_ape)} %"
        f" (dense: median {_percent(overall.dense_macro_median_ape)} %;"
        f" experts, by model and device: mean {_percent(overall.moe_macro_mean_ape)} %)."
    )
    if score.sets:
        large = [item for item in score.sets if item.regret > LARGE_REGRET]
        console.print(
            f"{len(score.sets)} sets of layouts: mean regret {_percent(overall.regret_mean)} %,"
            f" 95th percentile {_percent(overall.regret_p95)} %, {len(large)} above {100 * LARGE_REGRET:.0f} %;"
            f" tau {'-' if overall.tau is None else f'{overall.tau:.2f}'} on sets of ten or more."
        )
    judged = [group for group in score.groups if group.skilled is not None]
    if judged:
        met = sum(bool(group.skilled) for group in judged)
        console.print(
            f"Skill (mean error over that of one constant utilisation): {met} of {len(judged)} groups meet their bar,"
            f" {SKILL_BARS[True]} where the constant is more than {100 * FLAT_ENOUGH:.0f} % off, else {SKILL_BARS[False]};"
            " the others are marked !."
        )
    if overall.coverage is not None:
        console.print(
            f"80 % intervals hold {_percent(overall.coverage, digits=0)} % (mean over families),"
            f" median width {_percent(overall.interval_width_median, digits=0)} %."
        )
    inside = [group.coverage * group.predicted for group in score.incomplete if group.coverage is not None]
    if inside:
        count = sum(group.predicted for group in score.incomplete)
        console.print(f"Rows that leave settings open: {sum(inside):.0f} of {count} inside their interval.")
    console.print()


def _incomplete(console: Console, score: Score) -> None:
    """Rows that leave settings open: inside the interval, and the assignment that explains a model best."""
    if not score.assignments:
        return
    figures = ("rows", "time median", "memory mean", "memory tau")
    headings = ("family", "model", *figures, "best assignment of what is open")
    left = ("family", "model", "best assignment of what is open")
    table = new_table("Incomplete rows: one assignment for all rows of a model, % error", headings, left=left)
    with_choice = [item for item in score.assignments if item.setting]
    for item in with_choice[:MOST_ASSIGNMENTS]:
        words = ", ".join(f"{name} {value}" for name, value in item.setting.items())
        table.add_row(
            item.family,
            item.model,
            str(item.rows),
            _percent(_median(item.time)),
            _percent(_mean(item.memory)),
            "-" if item.memory_tau is None else f"{item.memory_tau:.2f}",
            words,
        )
    if with_choice:
        console.print(table)
    if len(with_choice) > MOST_ASSIGNMENTS:
        console.print(f"and {len(with_choice) - MOST_ASSIGNMENTS} more models (--json lists all)\n")


def _memory(console: Console, score: Score) -> None:
    if not score.memory:
        return
    headings = (
        "counter",
        "family",
        "accelerator",
        "figures",
        "votes",
        "mean",
        "p90",
        "worst",
        "bias",
        "assigned",
    )
    table = new_table(
        "Memory, each figure against its own counter, % error (assigned: mean under one assignment per model)",
        headings,
        left=("counter", "family", "accelerator"),
    )
    for group in score.memory:
        errors = group.errors
        if errors is None:
            continue
        table.add_row(
            group.memory_kind,
            group.family + ("" if group.complete else " (incomplete)"),
            group.accelerator,
            str(group.n),
            str(group.votes),
            _percent(errors.mean_ape),
            _percent(errors.p90_ape),
            _percent(group.worst, sign=True),
            _percent(errors.bias, sign=True),
            _percent(_mean(group.assigned)),
        )
    console.print(table)


def _fits(console: Console, score: Score) -> None:
    fits = score.fits
    table = new_table("Does it fit?", ("", "predicted: out of memory", "predicted: fits"), left=("",))
    table.add_row("ran out of memory", str(fits.oom_predicted_oom), str(fits.oom_predicted_fit))
    table.add_row("ran", str(fits.fit_predicted_oom), str(fits.fit_predicted_fit))
    if fits.oom_predicted_oom + fits.oom_predicted_fit + fits.fit_predicted_oom + fits.fit_predicted_fit:
        console.print(table)


def _sets(console: Console, sets: Sequence[LayoutSet], most: int) -> None:
    """Sets in which our favourite costs much more than the best layout."""
    costly = sorted((item for item in sets if item.regret > LARGE_REGRET), key=lambda item: -item.regret)
    if not costly:
        return
    shown = costly[:most]
    count = f"{len(shown)} of {len(costly)} " if len(shown) < len(costly) else ""
    headings = ("family", "layouts", "tau", "regret %", "favourite", "best", "known reason")
    table = new_table(
        f"{count}sets of layouts with a regret above {100 * LARGE_REGRET:.0f} %",
        headings,
        left=("family", "favourite", "best", "known reason"),
    )
    for item in shown:
        tau = "-" if item.tau is None else f"{item.tau:.2f}"
        cells = (item.family, str(item.layouts), tau, _percent(item.regret), item.favourite, item.best)
        table.add_row(*cells, item.reason or "-")
    console.print(table)


def _worst(console: Console, outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        return
    table = new_table(
        f"The {len(outcomes)} largest errors",
        ("row", "measured", "predicted", "error %", "where the predicted step goes"),
        left=("row", "where the predicted step goes"),
    )
    for outcome in outcomes:
        table.add_row(
            outcome.row.id,
            f"{outcome.measured_s:.4g} s",
            f"{outcome.predicted_s:.4g} s",
            _percent(outcome.error, sign=True),
            dominated(outcome),
        )
    console.print(table)


def dominated(outcome: Outcome) -> str:
    """The two largest classes of the predicted step."""
    if not outcome.readings:
        return "-"
    parts = outcome.readings[0].parts
    total = sum(parts.values()) or 1.0
    largest = sorted(parts.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in largest)


def _reasons(console: Console, title: str, reasons: Sequence[tuple[str, int]]) -> None:
    if not reasons:
        return
    table = new_table(title, ("rows", "what"), left=("what",))
    for text, count in reasons[:MOST_REASONS]:
        table.add_row(str(count), text)
    if len(reasons) > MOST_REASONS:
        table.add_row(str(sum(count for _, count in reasons[MOST_REASONS:])), "others (--json lists all)")
    console.print(table)


def _mean(errors: ErrorSummary | None) -> float | None:
    return None if errors is None else errors.mean_ape


def _median(errors: ErrorSummary | None) -> float | None:
    return None if errors is None else errors.median_ape


def _percent(value: float | None, *, sign: bool = False, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{100 * value:{'+' if sign else ''}.{digits}f}"
