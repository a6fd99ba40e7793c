"""The figures that matter most, beside what was asked of them; the README's table."""

from __future__ import annotations

from collections.abc import Iterator

from planner.report.accuracy.markdown import number, pair, percent, table
from planner.report.accuracy.sources import Json, Sources

Row = tuple[str, str, str, str, str, str]

_STEPS = ("priors", "in_sample", "model_out", "family_out")


def overview(sources: Sources) -> str:
    """One line per figure: priors, in sample, with models and with families left out, and the bar."""
    headings = ("", "priors only", "in sample", "model left out", "family left out", "bar")
    return table(headings, _rows(sources))


def _rows(sources: Sources) -> Iterator[Row]:
    runs, priors = sources.runs["overall"], sources.priors["overall"]
    dense = _macro(sources, "dense_macro", runs["dense_macro_median_ape"], priors["dense_macro_median_ape"])
    yield ("step time, dense models, mean of group medians", *dense, "3.5 %, 5.5 % with a model left out")
    experts = _macro(sources, "experts_macro_mean", runs["moe_macro_mean_ape"], priors["moe_macro_mean_ape"])
    yield ("step time, experts, mean by model and device", *experts, "10 %, 20 % with a model left out")
    yield (
        "step time, all groups, median / 90th percentile",
        pair(priors["macro_median_ape"], priors["macro_p90_ape"]),
        pair(runs["macro_median_ape"], runs["macro_p90_ape"]),
        "-",
        "-",
        "-",
    )
    yield (
        "regret of our favourite layout, mean / 95th percentile",
        pair(priors["regret_mean"], priors["regret_p95"]),
        pair(runs["regret_mean"], runs["regret_p95"]),
        "-",
        "-",
        "2 / 8 %",
    )
    tau = "Kendall tau on sets of ten layouts or more"
    yield tau, number(priors["tau"]), number(runs["tau"]), "-", "-", "0.8"
    yield from _intervals(sources.left_out, runs, priors)


def _macro(sources: Sources, name: str, in_sample: float, priors: float) -> tuple[str, str, str, str]:
    """In sample and priors as the commands say; left out as the fit stored them."""
    stored = (sources.left_out or {}).get(name) or {}
    figures = {**stored, "in_sample": in_sample, "priors": priors}
    first, second, third, fourth = (percent(figures.get(step)) for step in _STEPS)
    return first, second, third, fourth


def _intervals(left_out: Json | None, runs: Json, priors: Json) -> Iterator[Row]:
    found = (left_out or {}).get("left_out") or {}
    covered = found.get("coverage") or {}
    yield (
        "inside the 80 % interval, mean over families",
        percent(priors["coverage"], digits=0),
        percent(runs["coverage"], digits=0),
        percent(covered.get("model_out"), digits=0),
        percent(covered.get("family_out"), digits=0),
        "70 to 90 % left out",
    )
    width = "width of that interval, median"
    yield (
        width,
        percent(priors["interval_width_median"], digits=0),
        percent(runs["interval_width_median"], digits=0),
        percent(found.get("interval_width_median"), digits=0),
        "-",
        "40 %",
    )


def readme_table(sources: Sources) -> str:
    """The overview without bars, and peak memory."""
    headings = ("", "priors only", "in sample", "model left out", "family left out")
    rows = [row[:5] for row in _rows(sources)]
    for group in sources.runs["memory"]["groups"]:
        if group["memory_kind"] == "allocated" and group["complete"]:
            cell = f"{percent(group['mean_ape'])}, worst {percent(group['worst'], sign=True)}"
            name = f"peak memory, {group['family']} on {group['accelerator']}, {group['votes']} peaks"
            rows.append((name, cell, "the same", "the same", "the same"))
    return table(headings, rows)
