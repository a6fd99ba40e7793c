"""Tables hold what was predicted."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from planner.jobs.prediction import CommunicationRow, Pass
from planner.report.communication import alike, communication_table
from planner.report.plan import budget_line, print_plan
from planner.report.ranking import certificate_line, pareto_table, ranking_table, space_lines
from tests.report.samples import GIB, KNOBS, prediction


def draw(*items: object) -> str:
    console = Console(file=io.StringIO(), width=160, markup=False, highlight=False)
    console.print(*items, sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_ranking_row() -> None:
    text = draw(ranking_table([prediction()]))
    for words in (
        "tp8+sp pp4×2 dp2 zero1 mb1×64 recompute-selective",
        "10.00 s",
        "1,638",
        "45.0 %",
        "60.0 / 76.0",
    ):
        assert words in text
    # 1.5 of 10 s exposed, 0.5 of 10 s bubble.
    assert "15.0 %" in text
    assert "5.0 %" in text


def test_a_narrow_terminal_keeps_the_layout_readable() -> None:
    text = draw(ranking_table([prediction()], width=80))
    assert "tp8+sp" in text
    assert "bubble" not in text


def test_a_plan_that_does_not_fit_is_marked() -> None:
    base = prediction()
    full = replace(base, memory=replace(base.memory, device_used_bytes=79 * GIB, fits=False))
    assert "OVER" in draw(ranking_table([full]))
    console = Console(file=io.StringIO(), width=160)
    print_plan(console, full)
    assert isinstance(console.file, io.StringIO)
    # 79 + 4 kept free - 80 of capacity.
    assert "MISSING" in console.file.getvalue()
    assert "3.00" in console.file.getvalue()


def test_plan_details() -> None:
    row = CommunicationRow(
        "gradients",
        "reduce_scatter",
        "dp",
        "backward",
        16,
        (8.0, 2.0),
        "hierarchical",
        2.0**30,
        4.0,
        0.25,
        0.05,
    )
    console = Console(file=io.StringIO(), width=160)
    print_plan(console, prediction(communication=(row,), budget={"days": 12.5, "energy_kwh": 1000.0}))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in (
        "exposed tensor parallel",
        "activations kept for backward",
        "dp 16 (8×2)",
        "1,024.0",
        "12.5 days",
    ):
        assert words in text


def test_budget_tells_only_what_is_known() -> None:
    assert budget_line({"days": 3.0, "device_hours": 4608.0}) == "3.0 days, 4,608 device-hours"


def test_space_and_certificate() -> None:
    space = {"candidates": 1000, "evaluated": 400, "pruned": {"memory": 500, "bound": 100}, "seconds": 0.5}
    assert space_lines(space)[0] == "1,000 legal layouts, 400 evaluated in 500 ms"
    assert any("500" in line and "memory" in line for line in space_lines(space))
    proved = {"exact_for": "closed_form", "best_s": 10.0, "lower_bound_s": 10.0, "gap": 0.0}
    assert certificate_line(proved).startswith("proved optimal for the closed-form model")
    assert "5.0 %" in certificate_line({**proved, "lower_bound_s": 9.5, "gap": 0.05})


def test_pareto_rows_keep_their_order_and_show_money_where_it_is_known() -> None:
    point = {"step_time_s": 10.0, "device_used_bytes": 60 * GIB, "devices": 64, "layout": KNOBS}
    points = [point, {**point, "step_time_s": 12.0, "device_used_bytes": 40 * GIB}]
    text = draw(pareto_table(points, ("step_time", "memory")))
    assert "step time and memory" in text
    assert text.index("10.00 s") < text.index("12.00 s")
    assert "40.0 GiB" in text
    assert "cost" not in text
    priced = draw(pareto_table([{**point, "cost_per_million_tokens": 0.1234}], ("memory", "cost", "devices")))
    assert "memory, cost and devices" in priced
    assert "0.123" in priced


def test_alike_transfers_are_one_row() -> None:
    def gather(what: str, pass_: Pass) -> CommunicationRow:
        return CommunicationRow(
            what, "all_gather", "tp", pass_, 8, (8.0, 1.0), "ring", 2.0**20, 10.0, 0.5, 0.25
        )

    rows = (
        gather("attention_norm_out", "forward"),
        gather("mlp_norm_out", "forward"),
        gather("mlp_norm_out", "backward"),
    )
    assert [len(group) for group in alike(rows)] == [2, 1]
    text = draw(communication_table(rows))
    # Two rows of 10 calls and 0.5 s each.
    for words in ("attention_norm_out and 1 more", "20", "1.00 s", "500 ms", "1.0"):
        assert words in text
    assert "MiB/call" not in draw(communication_table(rows, width=80))
