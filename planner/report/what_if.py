"""The answers of ``plan what-if`` as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from planner.jobs.figures import Figure
from planner.layouts.knobs import layout_to_knobs
from planner.report.tables import new_table
from planner.report.text import gib, layout_words, seconds
from planner.units import format_rate

if TYPE_CHECKING:
    from rich.console import Console

    from planner.studies.what_if import Effect, Question, Target, Vary


def value_words(value: float, unit: str) -> str:
    """A figure's value in the unit that people use for it."""
    if unit == "bytes":
        return gib(value)
    if unit == "s":
        return seconds(value)
    return format_rate(value, "FLOP/s" if unit == "flop/s" else "B/s")


def change_words(change: float | None) -> str:
    """A relative change with its sign; what rounds to nothing as 0."""
    if change is None:
        return "does not fit"
    return "0" if abs(change) < 5e-5 else f"{100 * change:+.2f} %"


def elasticity_words(elasticity: float | None) -> str:
    """Three decimals with a sign; a dash for changes of several figures."""
    if elasticity is None:
        return "-"
    return "0" if abs(elasticity) < 5e-4 else f"{elasticity:+.3f}"


def factor_words(factor: float) -> str:
    """A factor as a percentage, or from twofold on as a factor."""
    if factor >= 2.0:
        return f"x{factor:.3g}"
    return "none" if factor == 1.0 else f"{100 * (factor - 1.0):+.1f} %"


def now_lines(question: Question) -> list[str]:
    """The layout that the questions are about, and the best one where it is another."""
    fits = "" if question.seconds(question.job) is not None else " (does not fit)"
    lines = [
        f"now: {layout_words(layout_to_knobs(question.kept))}, {seconds(question.step_time_s)} per step{fits}"
    ]
    if question.best.layout != question.kept:
        gain = question.best.step_time_s / question.step_time_s - 1.0
        words = layout_words(layout_to_knobs(question.best.layout))
        lines.append(
            f"the best layout now: {words}, {seconds(question.best.step_time_s)} ({change_words(gain)})"
        )
    return lines


def print_effects(
    console: Console, effects: Sequence[Effect], known: Mapping[str, Figure], *, sort: bool
) -> None:
    """What each change does to the step, with the layout kept and with the best one.

    Args:
        known: figures by name, for their words. sort: the largest gain first, as for standard changes.
    """
    headings = ("hardware", "change", "from", "to", "elasticity", "same layout", "best layout", "layout then")
    table = new_table("What if", headings, left=("hardware", "layout then"))
    rows = sorted(effects, key=lambda item: item.best_change or 0.0) if sort else list(effects)
    for item in rows:
        names = list(item.factors)
        table.add_row(
            "\n".join(known[name].words for name in names),
            "\n".join(factor_words(item.factors[name]) for name in names),
            *(
                "\n".join(value_words(item.values[name][end], known[name].unit) for name in names)
                for end in (0, 1)
            ),
            elasticity_words(item.elasticity),
            change_words(item.kept_change),
            change_words(item.best_change),
            _then(item),
        )
    console.print(table)
    console.print(
        "same layout, best layout: change of the step, searched again for the latter. "
        "elasticity: change of the step per change of the figure, both in percent."
    )


def _then(item: Effect) -> str:
    if item.layout is None:
        return "nothing fits"
    return layout_words(item.layout) if item.switches else "the same"


def print_target(console: Console, target: Target) -> None:
    """The smallest improvement of each figure that reaches the target, the best choice first."""
    if target.met:
        console.print(f"a step of {seconds(target.step_time_s)} is reached already: nothing need change")
        return
    priced = any(need.cost is not None for need in target.needs)
    headings = ("hardware", "from", "to", "change", *(("cost",) if priced else ()), "step", "layout")
    title = f"To reach {seconds(target.step_time_s)} per step by one figure alone"
    table = new_table(title, headings, left=("hardware", "layout"))
    for place, need in enumerate(target.needs):
        factor, after = need.factor, need.after
        if factor is None or after is None:
            words = ["-", "unreachable"]
        else:
            words = [value_words(after, need.unit), factor_words(factor)]
        cost = ["-" if need.cost is None else cost_words(need.cost)] if priced else []
        layout = "" if need.layout is None else layout_words(need.layout)
        step = "-" if need.best_s is None else seconds(need.best_s)
        style = "bold" if place == 0 and factor is not None else None
        cells = (need.words, value_words(need.before, need.unit), *words, *cost, step, layout)
        table.add_row(*cells, style=style)
    console.print(table)
    if any(need.factor is None for need in target.needs):
        console.print(
            f"unreachable: not with {target.largest_factor:g} times as much (times: as little); "
            "the step is what that much reaches."
        )
    if target.unreachable:
        console.print(f"no {'priced ' if priced else ''}figure alone reaches the target")


def cost_words(cost: float) -> str:
    """Money in whole units, or three digits of small amounts."""
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def print_vary(console: Console, found: Vary) -> None:
    """The best layout over the range of one figure."""
    headings = ("#", "from", "to", "of now", "step", "best layout")
    table = new_table(f"Best layout by {found.words}", headings, left=("best layout",))
    for place, span in enumerate(found.spans, 1):
        ends = [value_words(value, found.unit) for value in (span.begin, span.end)]
        shares = f"x{span.begin / found.now:.3g} - x{span.end / found.now:.3g}"
        step = "-"
        if span.begin_s is not None and span.end_s is not None:
            step = " - ".join(dict.fromkeys((seconds(span.begin_s), seconds(span.end_s))))
        words = "nothing fits" if span.layout is None else layout_words(span.layout)
        table.add_row(str(place), *ends, shares, step, words, style="bold" if span.now else None)
    console.print(table)
    count = len(found.spans) - 1
    if count:
        console.print(
            f"{count} {'switch' if count == 1 else 'switches'}, each between one row's end and the next one's begin; "
            "bold: now."
        )
    else:
        console.print("The same layout is best over the whole range.")
