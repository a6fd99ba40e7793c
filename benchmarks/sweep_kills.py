"""A sweep that is killed at random moments and started again, and what is left of it at the end.

``python -m benchmarks.sweep_kills`` runs 10,000 jobs with five kills and checks that every row is there once; ``--jobs`` and
``--kills`` change that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet

from planner.documents import write_yaml
from planner.studies.sweep.store import files_of, stored_table

JOB = {
    "model": "gpt3-125m",
    "cluster": "h100-superpod",
    "devices": 1,
    "training": {"global_batch": 24, "seq_len": 1024, "framework": "megatron-core"},
}
MICRO_BATCHES = (1, 2, 3, 4, 5)
"""Five does not divide the batch: a fifth of the jobs fail, each with its reason."""

FACTORS = tuple(round(0.5 + 0.05 * step, 2) for step in range(20))
STEP_TOKENS = 8
"""Sequence lengths are multiples of it."""


@dataclass(frozen=True)
class Kill:
    """One kill: seconds into the run, and rows that were on disk then."""

    after_s: float
    rows: int


def sweep_content(jobs: int) -> tuple[dict[str, Any], set[tuple[int, int, float]]]:
    """A sweep file of that many small jobs (a multiple of 100), and the settings that its table must have."""
    lengths = [STEP_TOKENS * (index + 1) for index in range(jobs // (len(MICRO_BATCHES) * len(FACTORS)))]
    over = {
        "training.seq_len": lengths,
        "layout.micro_batch": list(MICRO_BATCHES),
        "hardware.memory_bandwidth": [f"x{factor}" for factor in FACTORS],
    }
    content = {"job": JOB, "over": over, "layout": "tp=1"}
    return content, set(itertools.product(lengths, MICRO_BATCHES, FACTORS))


def run_with_kills(
    sweep: Path, table: Path, thresholds: Sequence[int], dice: random.Random, workers: int
) -> tuple[list[Kill], dict[str, Any]]:
    """Start the sweep, kill it (SIGKILL), start it again, ..., and let the last start end by itself.

    Args:
        thresholds: each kill comes up to a second after more rows than this are on disk; none when the sweep ends before.

    Returns:
        The kills, and the summary that the last run printed.
    """
    command = [sys.executable, "-m", "planner.cli", "sweep", str(sweep), "-o", str(table)]
    command += ["--workers", str(workers), "--json", "-q"]
    kills = []
    for threshold in sorted(thresholds):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        begin = time.monotonic()
        while _rows(table) <= threshold and process.poll() is None:
            time.sleep(0.05)
        time.sleep(dice.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            kills.append(Kill(time.monotonic() - begin, _rows(table)))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    return kills, summary


def _rows(table: Path) -> int:
    """Rows on disk; every file that is visible must be whole."""
    for _ in range(100):
        try:
            return sum(pyarrow.parquet.ParquetFile(file).metadata.num_rows for file in files_of(table))
        except FileNotFoundError:  # parts were just joined
            continue
    raise RuntimeError("files come and go all the time")


def faults(table: Path, wanted: set[tuple[int, int, float]]) -> list[str]:
    """What is wrong with a finished table; empty when every row is there once, each with a plan or a reason."""
    rows = stored_table(table).to_pylist()
    raw = pyarrow.parquet.ParquetFile(table).metadata.num_rows
    found = [
        (row["training.seq_len"], row["layout.micro_batch"], row["hardware.memory_bandwidth.factor"])
        for row in rows
    ]
    failed = [row for row in rows if row["status"] != "ok"]
    checks = {
        f"{raw} rows in the file, {len(rows)} distinct": raw == len(rows),
        "rows that occur twice": max(Counter(found).values()) == 1,
        "rows that are missing or were not asked for": set(found) == wanted,
        "a plan without a time": all(row["step_time_s"] > 0 for row in rows if row["status"] == "ok"),
        "a failure without its reason": all("does not divide" in row["message"] for row in failed),
        "failures elsewhere than expected": {row["layout.micro_batch"] for row in failed} == {5},
        "parts left over": files_of(table) == [table],
    }
    return [what for what, right in checks.items() if not right]


def main() -> int:
    """Run the long form and say what was seen; 1 when a row is missing or double."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    content, wanted = sweep_content(options.jobs)
    with tempfile.TemporaryDirectory() as folder:
        sweep, table = Path(folder) / "sweep.yaml", Path(folder) / "table.parquet"
        write_yaml(sweep, content)
        begin = time.monotonic()
        dice = random.Random(options.seed)
        thresholds = [dice.randrange(options.jobs) for _ in range(options.kills)]
        kills, summary = run_with_kills(sweep, table, thresholds, dice, options.workers)
        for number, kill in enumerate(kills, 1):
            click.echo(f"kill {number}: {kill.after_s:.1f} s after its start, {kill.rows:,} rows on disk")
        click.echo(f"last run: {json.dumps({name: summary[name] for name in summary if name != 'table'})}")
        click.echo(f"{time.monotonic() - begin:.0f} s in all")
        wrong = faults(table, wanted)
    click.echo("\n".join(wrong) or f"every one of {len(wanted):,} rows is there once")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
