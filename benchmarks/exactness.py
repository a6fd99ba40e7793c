"""The search against brute force on many and larger random jobs: the long form of tests/solvers/test_exactness.py.

Run with ``python -m benchmarks.exactness --jobs 500 --largest 2000``; a difference stops it with the job's seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from planner.errors import PlannerError
from tests.solvers.test_exactness import check_pareto, check_ranking, problem, swept

OBJECTIVES: tuple[Any, ...] = ("step_time", "memory", "cost")


def check(seed: int, largest: int) -> int:
    """One job by all objectives, with the Pareto set and in small blocks without it; gives its layouts that fit."""
    job, every = problem(seed, (largest // 4, largest // 2, largest))
    for objective in OBJECTIVES:
        whole = swept(job, objective)
        check_ranking(whole, every, objective)
        check_pareto(whole.frontier.points, every)
        check_ranking(swept(job, objective, top=3, pareto=False, block_rows=64), every, objective)
    return len(every.rows)


def main() -> None:
    """Check the jobs that were asked for and say how many there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--first", type=int, default=10_000, help="seed of the first job")
    parser.add_argument("--largest", type=int, default=2000, help="most layouts of a job")
    wanted = parser.parse_args()
    begin, layouts = time.process_time(), 0
    for seed in range(wanted.first, wanted.first + wanted.jobs):
        try:
            layouts += check(seed, wanted.largest)
        except (AssertionError, PlannerError) as error:
            raise SystemExit(f"seed {seed}: {error}") from error
    seconds = time.process_time() - begin
    sys.stdout.write(
        f"{wanted.jobs} jobs, {layouts:,} layouts that fit: search = brute force ({seconds:.0f} s of CPU)\n"
    )


if __name__ == "__main__":
    main()
