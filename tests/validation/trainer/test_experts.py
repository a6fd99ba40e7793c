"""Layers and models with experts over two and four gloo processes against one process, in 64 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.validation.processes.launch import run_processes
from tests.validation.trainer.experts_worker import CASES

WORKER = "tests.validation.trainer.experts_worker"


@pytest.fixture(scope="module")
def told(root: Path) -> dict[int, Any]:
    """Number of processes -> case -> (largest difference, collectives)."""
    return {count: _told(root, count) for count in CASES}


def _told(root: Path, count: int) -> dict[str, Any]:
    lines: list[str] = []
    run_processes(
        WORKER, [], count, timeout_s=100, environment={"PYTHONPATH": str(root)}, on_line=lines.append
    )
    found = [json.loads(line) for line in lines if line.startswith("[")]
    return {name: (difference, calls) for name, difference, calls in found}


@pytest.mark.parametrize("count", CASES)
def test_results_and_gradients_are_those_of_one_process(told: dict[int, Any], count: int) -> None:
    found = told[count]
    assert found.keys() == CASES[count].keys()
    assert all(difference < 1e-12 for difference, _ in found.values()), found


def test_balanced_rows_move_once_each_way_and_nothing_else(told: dict[int, Any]) -> None:
    """8 tokens on a rank x top-2 x 16 wide x 8 bytes over ep 2, twice as much with those of the other rank of etp."""
    assert told[4]["balanced"][1] == {
        "all_to_all ep forward 2048": 2,
        "all_to_all ep backward 2048": 2,
        "all_gather etp forward 4096": 1,
        "all_gather etp backward 4096": 1,
        "reduce_scatter etp forward 4096": 1,
        "reduce_scatter etp backward 4096": 1,
    }
