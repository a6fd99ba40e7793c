"""The counter-examples of docs/schedules.md, simulated anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.simulator.pipeline import PassSeconds, run_pipeline
from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.generate import make_schedule
from tests.simulator.schedules.closed_forms import run

PAGE = Path(__file__).parents[3] / "docs" / "schedules.md"
WIDTH = 11


def _documented() -> list[list[str]]:
    """Rows of the table of counter-examples."""
    section = PAGE.read_text(encoding="utf-8").split("## Counter-examples")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line
    ]
    return [row for row in rows[2:] if len(row) == WIDTH]


@pytest.mark.parametrize("row", _documented(), ids=lambda row: "-".join(row[:4]))
def test_counter_example(row: list[str]) -> None:
    name, p, v, m, f, bi, w, c, _, gives, simulated = row
    chunks = int(v)
    schedule = make_schedule(name, ranks=int(p), chunks=chunks, micro_batches=int(m))
    times = (float(f), float(bi), float(w))
    bubble = run(schedule, times, chunks, float(c)).makespan_s - int(m) * sum(times)
    assert f"{bubble:.2f}" == simulated
    assert gives != simulated


def test_the_table_is_there() -> None:
    assert len(_documented()) == 20


def test_shorter_fused_pairs() -> None:
    """(p/2 - 1)(F&B + b - 3w) = 3(2.56 + 2.2 - 2.7) = 6.18 for F&B = 0.8 x 3.2; simulated 4.00."""
    passes = PassSeconds(1.0, 2.2, 1.3, 0.9, overlap=0.8 * 3.2)
    found = run_pipeline(dualpipe(8, 20), passes).global_bubble_s
    assert f"{found:.2f}" == "4.00"
    assert "global bubble of 4.00" in PAGE.read_text(encoding="utf-8")
