"""Pipette's published step time, on ten synthetic clusters computed hop by hop."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from planner.solvers.placement.kernel import recurring_wait
from planner.solvers.placement.pipette import PipetteRun, pipette_time

# seed, stages p, replicas d, micro-batches m, b (sequences), s (tokens), h (width)
CASES = [
    (0, 4, 2, 16, 1, 2048, 4096),
    (1, 4, 4, 64, 2, 2048, 5120),
    (2, 8, 1, 32, 1, 1024, 8192),
    (3, 8, 4, 64, 4, 2048, 12288),
    (4, 2, 8, 8, 1, 512, 1024),
    (5, 16, 2, 128, 1, 4096, 8192),
    (6, 3, 3, 10, 2, 2048, 2048),
    (7, 5, 2, 7, 1, 2048, 4096),
    (8, 1, 6, 12, 8, 1024, 2048),
    (9, 6, 5, 36, 1, 8192, 8192),
]


@pytest.mark.parametrize("case", CASES)
def test_the_published_time_is_reproduced(case: tuple[int, ...]) -> None:
    seed, p, d, m, b, s, h = case
    generator = np.random.default_rng(seed)
    bandwidth = generator.uniform(5e9, 50e9, (p * d, p * d))
    nodes = generator.permutation(p * d).reshape(d, p)
    f, back = generator.uniform(0.01, 0.1, 2)
    gradients = 12.0 * h * h * 2.0
    slowest_pipeline = 0.0
    for replica in nodes:
        spent = 0.0
        for here, there in pairwise(replica):
            spent += 2 * (2 * b * s * h) / bandwidth[here, there]
        slowest_pipeline = max(slowest_pipeline, spent)
    ring = 0.0
    for replica in range(d if d > 1 else 0):
        link = bandwidth[nodes[replica][0], nodes[(replica + 1) % d][0]]
        ring = max(ring, 2 * (d - 1) / d * gradients / link)
    published = math.floor(m / p) * (slowest_pipeline + p * (f + back)) + (p - 1) * (f + back) + ring
    run = PipetteRun(f, back, m, 2.0 * b * s * h, gradients)
    assert pipette_time(run, nodes.tolist(), bandwidth) == pytest.approx(published, rel=1e-6)


@pytest.mark.parametrize(("p", "m"), [(4, 16), (4, 64), (8, 32), (8, 64)])
def test_the_planner_counts_what_filling_and_draining_add(p: int, m: int) -> None:
    """With equal links the published count 2 (p - 1) m / p misses 2 (p - 2) messages."""
    bandwidth = np.full((p, p), 1e9)
    without = PipetteRun(1.0, 2.0, m, 0.0, 0.0)
    messages = PipetteRun(1.0, 2.0, m, 1e7, 0.0)
    nodes = [list(range(p))]
    published = pipette_time(messages, nodes, bandwidth) - pipette_time(without, nodes, bandwidth)
    one = 1e7 / 1e9
    assert recurring_wait(np.full(p - 1, 2 * one), m) == pytest.approx(published + 2 * (p - 2) * one)
