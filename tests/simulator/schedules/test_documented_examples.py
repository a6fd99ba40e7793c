"""The counter-examples of docs/schedules.md, simulated anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.simulator.pipeline import PassSeconds, run_pipeline
from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.generate import make_schedule
from tests.simulator.schedules.closed_forms import check_bubble, run

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


@pytest.mark.parametrize(
    ("name", "p", "bubble", "peak"),
    [
        ("v_half", 8, 7 * 3 / 2, 8 / 2 + 1),
        ("v_half", 9, 8 * 3 / 2 - 1 / 2, (9 + 1) / 2),
        ("v_min", 9, 2 * 8 + 1 / 2, 9 / 3 + 1),
        ("v_min", 7, 2 * 6 - 1 / 2, (7 + 2) / 3),
        ("v_min", 8, 2 * 7 - 1 / 2, (8 + 4) / 3),
    ],
)
def test_controllable_memory(name: str, p: int, bubble: float, peak: float) -> None:
    """(p - 1)(f + b) / 2 and 2(p - 1)(f + b) / 3 with f = bi = w = 1 and their odds, as the page says."""
    schedule = make_schedule(name, ranks=p, chunks=2, micro_batches=2 * p)
    found = check_bubble(schedule, (1.0, 1.0, 1.0), bubble, chunks=2)
    assert found.peak_in_flight.max() == pytest.approx(peak)


@pytest.mark.parametrize(("p", "shares"), [(4, (0.333, 0.213, 0.119)), (8, (0.368, 0.238, 0.135))])
def test_waves(p: int, shares: tuple[float, ...]) -> None:
    for waves, share in zip((1, 2, 4), shares, strict=True):
        found = run(
            make_schedule("wave", ranks=p, chunks=2 * waves, micro_batches=p), (1.0, 1.0, 1.0), 2 * waves
        )
        assert round(found.global_bubble_s / found.makespan_s, 3) == share
        assert found.peak_in_flight.max() <= p
