"""Sections on published runs: groups, what is left out, worst rows, order, memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.report.accuracy.markdown import number, pair, percent, table
from planner.report.accuracy.sources import Json, Notes, Sources

WORST = 10
COSTLY = 0.08
"""Regret from which a set is listed."""

MANY = 4
"""Rows from which the one assignment of a model's open settings says something."""


def groups_section(runs: Json) -> str:
    """Errors of step time by group."""
    headings = ("family", "accelerator", "runs", "votes", "median", "mean", "90th pct.", "bias")
    more = ("tau", "regret", "one constant MFU, mean", "skill", "in interval", "width")
    rows = []
    for group in runs["groups"]:
        flat = (group["flat_mfu"] or {}).get("mean_ape")
        miss = " (missed)" if group["skilled"] is False else ""
        rows.append(
            (
                group["family"],
                group["accelerator"],
                str(group["predicted"]),
                str(group["votes"]),
                *(percent(group[name]) for name in ("median_ape", "mean_ape", "p90_ape")),
                percent(group["bias"], sign=True),
                number(group["kendall_tau"]),
                percent(group["regret_mean"]),
                percent(flat),
                number(group["skill"]) + miss,
                percent(group["coverage"], digits=0),
                percent(group["interval_width_median"], digits=0),
            )
        )
    return table((*headings, *more), rows)


def left_out_section(left_out: Json) -> str:
    """Median / mean errors by group: priors, in sample, model and family left out."""
    headings = ("family", "accelerator", "runs", "priors", "in sample", "model left out", "family left out")
    return table(headings, (_left_out_row(group) for group in left_out["groups"]))


def _left_out_row(group: Json) -> tuple[str, ...]:
    figures = (group[name] for name in ("priors", "in_sample", "model_out", "family_out"))
    cells = ("-" if f is None else pair(f["median_ape"], f["mean_ape"]) for f in figures)
    return group["family"], group["accelerator"], str(group["rows"]), *cells


def worst_section(sources: Sources) -> str:
    """The largest errors of complete rows, where their step goes, and the best explanation."""
    rows = [row for row in sources.runs["rows"] if row["scored"] == "complete" and row["error"] is not None]
    worst = sorted(rows, key=lambda row: -abs(math.log1p(row["error"])))[:WORST]
    headings = ("run", "measured", "predicted", "error", "where the predicted step goes", "why")
    return table(headings, (_worst_row(row, sources.notes) for row in worst))


def _worst_row(row: Json, notes: Notes) -> tuple[str, ...]:
    return (
        row["id"],
        f"{row['measured_s']:.4g} s",
        f"{row['predicted_s']:.4g} s",
        percent(row["error"], sign=True, digits=0),
        largest_shares(row["shares"] or {}),
        notes.reason(row["id"]),
    )


def largest_shares(shares: Mapping[str, float]) -> str:
    """The three largest parts of a step."""
    first = sorted(shares.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {percent(share, digits=0)}" for name, share in first)


def order_section(sources: Sources) -> str:
    """Sets of layouts in which our favourite costs much more than the best one."""
    sets: Sequence[Json] = sources.runs["sets"]
    costly = sorted((item for item in sets if item["regret"] > COSTLY), key=lambda item: -item["regret"])
    intro = f"{len(sets)} sets of layouts; in {len(costly)} our favourite costs more than {100 * COSTLY:.0f} % over the best:\n\n"
    headings = ("family", "layouts", "tau", "regret", "favourite", "best", "why")
    rows = (
        (
            item["family"],
            str(item["layouts"]),
            number(item["tau"]),
            percent(item["regret"]),
            item["favourite"],
            item["best"],
            sources.notes.reason(item["favourite"]),
        )
        for item in costly
    )
    return intro + table(headings, rows) if costly else intro.replace(":\n\n", ".\n")


def experts_section(experts: Json) -> str:
    """Models with experts: by model and device, pairs, hard pairs."""
    headings = ("family", "accelerator", "model", "runs", "mean error", "offset", "error after the offset")
    rows = (
        (
            group["family"],
            group["accelerator"],
            str(group["model"]),
            str(group["n"]),
            percent(group["mean_ape"]),
            percent(group["offset"], sign=True),
            percent(group["within"]),
        )
        for group in experts["groups"]
        if group["complete"]
    )
    text = (
        f"Pairs of one group with a gap above 5 %: {experts['pairs']}, in the right order"
        f" {percent(experts['ordered'], digits=0)}. Pairs that change one thing: {experts['hard_pairs_right']} of"
        f" {len(experts['hard_pairs'])} in the right direction, {experts['hard_pairs_near']} within 15 % of the ratio.\n"
    )
    return table(headings, rows) + "\n" + text


def memory_section(memory: Json) -> str:
    """Each figure against its own counter, and what fits."""
    headings = ("counter", "family", "accelerator", "figures", "votes", "mean", "90th pct.", "worst", "bias")
    fits: Mapping[str, Any] = memory["fit_table"]
    square = table(
        ("", "predicted: out of memory", "predicted: fits"),
        (
            ("ran out of memory", str(fits["oom_predicted_oom"]), str(fits["oom_predicted_fit"])),
            ("ran", str(fits["fit_predicted_oom"]), str(fits["fit_predicted_fit"])),
        ),
    )
    return table(headings, _memory_rows(memory["groups"])) + "\n" + square


def open_section(assignments: Sequence[Json]) -> str:
    """Models whose rows leave settings open, each under the one assignment that explains all of its rows best."""
    headings = ("family", "model", "rows", "time, mean", "memory, mean", "order of memory, tau", "assignment")
    chosen = [item for item in assignments if item["setting"] and item["rows"] >= MANY]
    return table(
        headings,
        (
            (
                item["family"],
                item["model"],
                f"{item['rows']} of {item['of']}",
                *(percent((item[name] or {}).get("mean_ape")) for name in ("time", "memory")),
                number(item["memory_tau"]),
                ", ".join(f"{name} {value}" for name, value in item["setting"].items()),
            )
            for item in chosen
        ),
    )


def _memory_rows(groups: Sequence[Json]) -> Iterator[tuple[str, ...]]:
    for group in groups:
        yield (
            group["memory_kind"],
            group["family"] + ("" if group["complete"] else " (incomplete rows)"),
            group["accelerator"],
            str(group["n"]),
            str(group["votes"]),
            percent(group["mean_ape"]),
            percent(group["p90_ape"]),
            percent(group["worst"], sign=True),
            percent(group["bias"], sign=True),
        )
