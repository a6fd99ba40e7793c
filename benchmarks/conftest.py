"""Jobs of the benchmarks, and the summary that ``make bench`` ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.jobs.loader import load_job
from planner.jobs.types import Job

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="session")
def gpt3_job() -> Job:
    """GPT-3 175B on 1,024 A100, global batch 1,536."""
    return load_job(EXAMPLES / "gpt3-175b-a100.yaml")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Rates and ratios, from what the benchmarks noted in ``extra_info``."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    if session is None:
        return
    rates = {}
    for bench in session.benchmarks:
        rows = bench.extra_info.get("layouts")
        if rows:
            rates[bench.name] = rows / bench.stats.mean
            terminalreporter.write_line(
                f"{bench.name}: {rows:,} layouts in {bench.stats.mean:.3g} s = {rates[bench.name]:,.0f} layouts/s"
            )
    many, single = rates.get("test_evaluate_many"), rates.get("test_evaluate_one_by_one")
    if many and single:
        terminalreporter.write_line(f"many at once against one by one: {many / single:,.0f}x")
