"""What the closed-form tests share: the grid of shapes and pass times, and how a run is compared with a formula.

p ranks, v chunks per rank, m micro-batches, c seconds of one hop; f, bi, w are seconds of forward, input gradient and
weight gradient of one micro-batch on all chunks of a rank, b = bi + w.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from planner.simulator.pipeline import PassSeconds, PipelineRun, run_pipeline
from planner.simulator.schedules.schedule import Schedule

Times = tuple[float, float, float]

RANKS = [2, 4, 8, 16]
UNEQUAL: list[Times] = [(1.0, 1.3, 0.9), (1.2, 0.6, 0.9), (0.7, 0.8, 0.5), (0.5, 1.1, 0.8)]
LIGHT_WEIGHTS = [times for times in UNEQUAL if times[0] >= times[2]]


def grid(ranks: int) -> Iterator[int]:
    """Every m in p..8p."""
    return iter(range(ranks, 8 * ranks + 1))


def run(schedule: Schedule, times: Times, chunks: int = 1, hop: float = 0.0) -> PipelineRun:
    """The schedule with equal ranks; a pass takes 1/chunks of its rank's time."""
    f, bi, w = (seconds / chunks for seconds in times)
    return run_pipeline(schedule, PassSeconds(f, bi + w, bi, w), hop_s=hop)


def times_at(ranks: int, micro_batches: int, choices: list[Times]) -> list[Times]:
    """All of them; one in turn for the longest pipelines, whose 113 numbers of micro-batches see each many times."""
    return choices if ranks < RANKS[-1] else [choices[micro_batches % len(choices)]]


def check_bubble(
    schedule: Schedule, times: Times, bubble: float, chunks: int = 1, hop: float = 0.0
) -> PipelineRun:
    """The makespan is m micro-batches' work and the bubble, to 1e-9."""
    units = schedule.micro_batches // schedule.slices
    found = run(schedule, times, chunks, hop)
    expected = units * sum(times) + bubble
    assert abs(found.makespan_s - expected) <= 1e-9 * expected, (schedule.name, units, times, hop, expected)
    return found


def check_peak(schedule: Schedule, peak: ArrayLike) -> None:
    """Every rank's peak in units of a micro-batch on all its chunks; pass times cannot change it."""
    found = run(schedule, (1.0, 1.0, 1.0)).peak_in_flight
    expected = np.broadcast_to(peak, found.shape)
    assert bool((abs(found - expected) < 1e-9).all()), (schedule.name, found, expected)
