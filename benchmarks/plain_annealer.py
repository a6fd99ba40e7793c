"""A plain annealer of node placements, as Pipette describes its own (arXiv 2405.18093), for comparison.

It knows nothing of the planner's: random start; moves two-opt, insert, swap, move a route, move a reversed route; every move
prices everything anew; a worse placement is kept with probability exp(-d / T), d scaled into its own decade, T falling from 1
by 0.999 a step until it no longer matters; stops after a time. Pipelines x replicas, a node each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Stages x replicas, a node each; place ``stage * replicas + replica``."""

    stages: int
    replicas: int
    micro_batches: int
    message: float
    gradients: float
    hop_latency: float
    ring_latency: float

    def weights(self) -> NDArray[np.float64]:
        """For every stretch of hops: weight of each hop's message there and back, as a matrix (stretches, hops)."""
        rows = []
        hops = self.stages - 1
        for first in range(hops):
            for last in range(first + 1, self.stages):
                left = self.micro_batches - 1 - (self.stages - 1 - last)
                if left < 1:
                    continue
                width = last - first + 1
                row = np.ones(hops)
                row[last:] += 1.0
                row[first:last] += left // width + max(left % width - 1, 0) / (width - 1)
                rows.append(row)
        return np.array(rows or [np.ones(hops)])


def grid_cost(grid: Grid, rates: NDArray[np.float64]) -> Callable[[Nodes], float]:
    """Seconds of all pipelines and all rings, everything anew at each call."""
    inverse = 1.0 / rates
    both = grid.message * (inverse + inverse.T) + 2.0 * grid.hop_latency
    ring = 2.0 * (grid.replicas - 1) / grid.replicas * grid.gradients * inverse
    weights = grid.weights().T

    def cost(nodes: Nodes) -> float:
        table = nodes.reshape(grid.stages, grid.replicas)
        pipelines = float((both[table[:-1], table[1:]].T @ weights).max()) if grid.stages > 1 else 0.0
        rings = 0.0
        if grid.replicas > 1:
            rings = float(ring[table, np.roll(table, -1, axis=1)].max()) + grid.ring_latency
        return pipelines + rings

    return cost


def anneal_plainly(
    cost: Callable[[Nodes], float], stages: int, replicas: int, seconds: float, seed: int
) -> tuple[Nodes, float, int]:
    """(best nodes, their cost, moves) after so many seconds of this process' time."""
    generator = np.random.default_rng(seed)
    nodes = generator.permutation(stages * replicas)
    value = cost(nodes)
    best, lowest, moves, temperature = nodes.copy(), value, 0, 1.0
    began = time.process_time()
    while time.process_time() - began < seconds:
        fresh = _moved(nodes, replicas, generator)
        after = cost(fresh)
        worse = after - value
        if worse <= 0.0 or generator.random() < math.exp(-_in_decade(worse) / max(temperature, 1e-12)):
            nodes, value = fresh, after
            if value < lowest:
                best, lowest = nodes.copy(), value
        temperature *= 0.999
        moves += 1
    return best, lowest, moves


def _in_decade(difference: float) -> float:
    """Scaled into [0.1, 1)."""
    return float(difference / 10.0 ** (math.floor(math.log10(difference)) + 1))


def _moved(nodes: Nodes, replicas: int, generator: np.random.Generator) -> Nodes:
    """A neighbour by a random one of the five moves."""
    fresh = nodes.copy()
    kind = int(generator.integers(5))
    a, b = sorted(generator.integers(len(nodes), size=2).tolist())
    if kind == 0:
        fresh[a : b + 1] = fresh[a : b + 1][::-1]
    elif kind == 1:
        fresh = np.insert(np.delete(fresh, a), b, nodes[a])
    elif kind == 2:
        fresh[a], fresh[b] = nodes[b], nodes[a]
    else:
        table = fresh.reshape(-1, replicas)
        one, other = generator.integers(replicas, size=2)
        route = table[:, one].copy()
        table = np.insert(np.delete(table, one, axis=1), other, route[::-1] if kind == 4 else route, axis=1)
        fresh = table.ravel()
    return fresh
