"""The command killed at random moments and started again (the long form with 10,000 jobs is in ``benchmarks``)."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.sweep_kills import faults, run_with_kills, sweep_content
from planner.documents import write_yaml


def test_every_row_is_there_once_after_kills_at_random_moments(tmp_path: Path) -> None:
    content, wanted = sweep_content(300)
    sweep, table = tmp_path / "sweep.yaml", tmp_path / "table.parquet"
    write_yaml(sweep, content)
    dice = random.Random()
    kills, summary = run_with_kills(sweep, table, [0, dice.randrange(200)], dice, workers=2)
    assert kills
    assert summary["kept"] > 0
    assert summary["computed"] + summary["kept"] == len(wanted) == 300
    assert summary["status"] == {"ok": 240, "bad_input": 60}
    assert faults(table, wanted) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sweep.yaml", "table.parquet"]
