"""A slow engine in plain Python that shares nothing with the compiled one: fluid steps, every rate found anew each time."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from planner.simulator.program import Program, TaskKind
from tests.simulator.engine.programs import queued_after

Row = dict[int, float]


def fair_rates(rows: list[Row], caps: list[float], capacity: list[float]) -> list[float]:
    """Max-min fair rates by rounds over exact fractions: raise all free flows until one link or cap stops some of them.

    Args:
        rows: usage of each link per unit of a flow's rate.
    """
    exact = [{link: Fraction(usage) for link, usage in row.items()} for row in rows]
    room = [Fraction(value) if math.isfinite(value) else None for value in capacity]
    rates = [Fraction(0)] * len(rows)
    free = set(range(len(rows)))
    while free:
        steps = {flow: Fraction(caps[flow]) - rates[flow] for flow in free}
        for link, left in enumerate(room):
            weight = sum((exact[flow].get(link, Fraction(0)) for flow in free), Fraction(0))
            if weight and left is not None:
                for flow in free:
                    if exact[flow].get(link):
                        steps[flow] = min(steps[flow], left / weight)
        step = min(steps.values())
        for flow in free:
            rates[flow] += step
            for link, usage in exact[flow].items():
                left = room[link]
                room[link] = None if left is None else left - step * usage
        free -= {flow for flow in free if steps[flow] == step}
    return [float(rate) for rate in rates]


def run_reference(program: Program) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end of every task."""
    tasks, needed = program.tasks, queued_after(program)
    count = len(tasks)
    start, end = np.full(count, np.nan), np.full(count, np.nan)
    latency, left = tasks.latency_s.astype(float).copy(), tasks.seconds.astype(float).copy()
    now = 0.0
    while np.isnan(end).any():
        for task in range(count):
            if np.isnan(start[task]) and not np.isnan(end[needed[task]]).any():
                start[task] = now
        active = [task for task in range(count) if not np.isnan(start[task]) and np.isnan(end[task])]
        speed = _speeds(program, active, latency, left)
        steps = [latency[task] if latency[task] > 0 else left[task] / speed[task] for task in active]
        step = min(steps)
        now += step
        for task, wanted in zip(active, steps, strict=True):
            finished = wanted <= step * (1 + 1e-12)
            if latency[task] > 0:
                latency[task] = 0 if finished else latency[task] - step
                finished = finished and left[task] == 0
            else:
                left[task] = 0 if finished else left[task] - step * speed[task]
            if finished:
                end[task] = now
    return start, end


def _speeds(
    program: Program, active: list[int], latency: NDArray[np.float64], left: NDArray[np.float64]
) -> dict[int, float]:
    """Progress of every task in seconds of its own time per second."""
    tasks, table = program.tasks, program.routes
    speed = dict.fromkeys(active, 1.0)
    moving = [
        task for task in active if tasks.kind[task] == TaskKind.TRANSFER and latency[task] == 0 < left[task]
    ]
    flows, rows, caps, slowed = [], [], [], set()
    for task in moving:
        route = tasks.route[task]
        if route < 0:
            continue
        slowed.update(table.member[table.member_start[route] : table.member_start[route + 1]].tolist())
        entries = range(table.start[route], table.start[route + 1])
        loads = {int(table.link[entry]): float(table.nbytes[entry]) for entry in entries}
        if loads:
            flows.append(task)
            rows.append({link: nbytes / max(loads.values()) for link, nbytes in loads.items()})
            caps.append(max(loads.values()) / tasks.seconds[task])
    rates = fair_rates(rows, caps, program.links.capacity.tolist())
    speed.update({task: rate / cap for task, rate, cap in zip(flows, rates, caps, strict=True)})
    for task in active:
        if tasks.kind[task] == TaskKind.COMPUTE and tasks.actor[task] in slowed:
            speed[task] = 1 - program.slowdown
    return speed
