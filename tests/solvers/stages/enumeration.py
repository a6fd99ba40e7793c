"""Every cut and every mode of small stage problems, written out without the code under test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from planner.solvers.stages import CoupledProblem, StageProblem, coupled_problem, stage_problem

GB, MS = 1e9, 1e-3


def ways(problem: StageProblem) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(bounds of the stages, mode of each layer)."""
    layers = len(problem.layers)
    for inner in itertools.combinations_with_replacement(range(layers + 1), problem.stages - 1):
        bounds = (0, *inner, layers)
        empty = [first == last for first, last in itertools.pairwise(bounds)]
        if any(empty[stage] and not problem.may_be_empty[stage] for stage in range(problem.stages)):
            continue
        for chosen in itertools.product(range(problem.modes), repeat=layers):
            yield bounds, chosen


def least_step(problem: StageProblem) -> float:
    """The shortest step by trying everything; infinite when nothing fits."""
    best = math.inf
    for bounds, modes in ways(problem):
        slowest, total, fits = 0.0, 0.0, True
        for stage in range(problem.stages):
            device = problem.stage_class[stage]
            seconds, once = problem.fixed_s[stage], problem.fixed_once_s[stage]
            held, kept = problem.fixed_bytes[stage], 0.0
            for layer in range(bounds[stage], bounds[stage + 1]):
                kind, mode = problem.layers[layer], modes[layer]
                seconds += problem.seconds[device, kind, mode]
                held += problem.static_bytes[device, kind]
                kept += problem.kept_bytes[device, kind, mode]
                once += problem.once_s[device, kind]
            fits &= held + kept * problem.in_flight[stage] <= problem.capacity_bytes[stage]
            slowest = max(slowest, (problem.micro_batches - 1) * seconds + once)
            total += seconds
        if fits:
            best = min(best, slowest + total)
    return best


def least_coupled_step(problem: CoupledProblem) -> float:
    """The same where ranks hold several stages and hosts are shared."""
    steps = (_coupled_step(problem, bounds, modes) for bounds, modes in ways(problem.stages))
    return min(steps, default=math.inf)


def _coupled_step(problem: CoupledProblem, bounds: tuple[int, ...], modes: tuple[int, ...]) -> float:
    part, v, m = problem.stages, problem.chunks, problem.stages.micro_batches
    seconds = list(part.fixed_s)
    held, own, once = list(problem.shared_bytes), [0.0] * problem.ranks, [0.0] * problem.ranks
    hosted, moved = ([0.0] * len(problem.host_capacity_bytes) for _ in range(2))
    for stage in range(part.stages):
        rank, device = problem.rank[stage], part.stage_class[stage]
        host = problem.host[rank]
        held[rank] += part.fixed_bytes[stage]
        once[rank] += part.fixed_once_s[stage]
        for layer in range(bounds[stage], bounds[stage + 1]):
            kind, mode = part.layers[layer], modes[layer]
            seconds[stage] += part.seconds[device, kind, mode]
            held[rank] += part.static_bytes[device, kind]
            held[rank] += part.in_flight[stage] * part.kept_bytes[device, kind, mode]
            once[rank] += part.once_s[device, kind]
            hosted[host] += part.in_flight[stage] * problem.host_bytes[device, kind, mode]
            moved[host] += 2 * problem.host_bytes[device, kind, mode]
        own[rank] += seconds[stage]
    room = [min(part.capacity_bytes[problem.rank == rank]) for rank in range(problem.ranks)]
    full = any(a > b * (1 + 1e-9) for a, b in zip(held, room, strict=True))
    if full or any(a > b * (1 + 1e-9) for a, b in zip(hosted, problem.host_capacity_bytes, strict=True)):
        return math.inf
    chunks = [max(seconds[s] for s in range(part.stages) if problem.chunk[s] == c) for c in range(v)]
    links = [a / b for a, b in zip(moved, problem.link_bytes_per_s, strict=True)]
    weights = problem.pace
    paced = weights.own * max(own) + weights.chunks * sum(chunks) + weights.largest * v * max(seconds)
    pace = max(paced, *links)
    slowest = max((m - 1 / v) * pace, *((m - 1 / v) * a + b for a, b in zip(own, once, strict=True)))
    return float(slowest + sum(seconds) / v)


def random_stages(seed: int, nbytes: float = 1.0, seconds: float = 1.0) -> StageProblem:
    """Up to 6 layers of 3 types and 3 modes on up to 4 stages of 2 device classes; whole numbers, so that sums are exact."""
    draw = np.random.default_rng(seed).integers
    layers = int(draw(2, 7))
    stages, types, classes = int(draw(1, min(layers, 4) + 1)), int(draw(1, 4)), int(draw(1, 3))
    shape = (classes, types, int(draw(1, 4 if layers < 6 else 3)))
    return stage_problem(
        draw(0, types, layers),
        draw(1, 20, shape) * seconds,
        draw(0, 9, shape) * nbytes,
        draw(10, 60, stages) * nbytes,
        int(draw(1, 9)),
        static_bytes=draw(0, 6, shape[:2]) * nbytes,
        once_s=draw(0, 6, shape[:2]) * seconds,
        stage_class=draw(0, classes, stages),
        fixed_s=draw(0, 5, stages) * seconds,
        fixed_bytes=draw(0, 5, stages) * nbytes,
        fixed_once_s=draw(0, 5, stages) * seconds,
        may_be_empty=draw(0, 3, stages) == 0,
    )


def random_coupled(seed: int) -> CoupledProblem:
    """Up to 5 layers on up to 2 ranks of up to 3 chunks; every other one with modes that move bytes to a host."""
    draw = np.random.default_rng(seed).integers
    ranks = int(draw(1, 3))
    stages = ranks * int(draw(1, 4 if ranks == 1 else 3))
    layers = int(draw(stages, 6))
    types, classes = int(draw(1, 3)), int(draw(1, 3))
    shape = (classes, types, int(draw(1, 4 if layers < 5 else 3)))
    part = stage_problem(
        draw(0, types, layers),
        draw(1, 20, shape) * MS,
        draw(0, 9, shape) * GB,
        np.full(stages, float(draw(20, 90)) * GB),
        int(draw(1, 9)),
        static_bytes=draw(0, 6, shape[:2]) * GB,
        once_s=draw(0, 6, shape[:2]) * MS,
        stage_class=draw(0, classes, stages),
        fixed_s=draw(0, 5, stages) * MS,
        fixed_bytes=draw(0, 5, stages) * GB,
        fixed_once_s=draw(0, 5, stages) * MS,
        in_flight=draw(1, 4, stages).astype(float),
        may_be_empty=draw(0, 3, stages) == 0,
    )
    shared = draw(0, 3, ranks) * GB
    rank = np.arange(stages) % ranks
    if seed % 2 == 0 or shape[2] == 1:
        return coupled_problem(part, rank, shared_bytes=shared)
    moved = draw(0, 5, shape) * GB
    moved[:, :, 0] = 0
    return coupled_problem(
        part,
        rank,
        shared_bytes=shared,
        host_bytes=moved,
        host_capacity_bytes=draw(5, 30, 1) * GB,
        link_bytes_per_s=draw(300, 2000, 1) * GB,
    )
