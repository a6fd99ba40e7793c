"""Jobs of the benchmarks, and the summary that ``make bench`` ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.jobs.loader import load_job
from planner.jobs.types import Job

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RATIOS = (
    ("test_evaluate_many", "test_evaluate_one_by_one", "many at once against one by one"),
    ("test_simulate_compiled", "test_simulate_plain_python", "compiled event engine against plain Python"),
)


@pytest.fixture(scope="session")
def gpt3_job() -> Job:
    """GPT-3 175B on 1,024 A100, global batch 1,536."""
    return load_job(EXAMPLES / "gpt3-175b-a100.yaml")


@pytest.fixture(scope="session")
def llama_job() -> Job:
    """Llama 3 70B on 64 H100."""
    return load_job(EXAMPLES / "llama3-70b-h100.yaml")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Rates and ratios, from what the benchmarks noted in ``extra_info``."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    if session is None:
        return
    rates = {}
    for bench in session.benchmarks:
        if "note" in bench.extra_info:
            terminalreporter.write_line(f"{bench.name}: {bench.extra_info['note']}")
        for unit in ("layouts", "actions"):
            count = bench.extra_info.get(unit)
            if count:
                rates[bench.name] = count / bench.stats.mean
                terminalreporter.write_line(
                    f"{bench.name}: {count:,} {unit} in {bench.stats.mean:.3g} s = {rates[bench.name]:,.0f} {unit}/s"
                )
    for fast, slow, what in RATIOS:
        if rates.get(fast) and rates.get(slow):
            terminalreporter.write_line(f"{what}: {rates[fast] / rates[slow]:,.0f}x")
