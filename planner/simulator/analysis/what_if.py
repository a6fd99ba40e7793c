"""What-if: which resource, made a little faster, shortens the step most."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.simulator.analysis.columns import expand, step_end
from planner.simulator.program import NONE, Execution, Floats, Program, TaskKind, What

FASTER = 0.10

Run = Callable[[Program], Execution]


@dataclass(frozen=True)
class WhatIf:
    """One resource made faster.

    Args:
        resource: in words.
        step_time_s: the step then; saved_s: what the step loses by it; share: of the step, saved.
    """

    resource: str
    step_time_s: float
    saved_s: float
    share: float


def what_if(
    program: Program,
    run: Run,
    step_time_s: float,
    levels: Sequence[str],
    faster: float = FASTER,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[WhatIf, ...]:
    """Runs the program again with one resource after the other made faster.

    Args:
        run: the engine that executed the program.
        step_time_s: of the program as it is.
        levels: names of the network levels, innermost first.
        faster: 0.10 is 10 % faster: seconds are divided by 1.1, capacities and latencies likewise.
        progress: told the fraction done and what is tried.

    Returns:
        those that the program uses, largest saving first.
    """
    trials = _trials(program, levels, 1.0 + faster)
    results = []
    for place, (name, changed) in enumerate(trials):
        if progress is not None:
            progress(place / len(trials), f"what if: {name}")
        after = step_end(changed, run(changed))
        saved = step_time_s - after
        results.append(WhatIf(name, after, saved, saved / step_time_s if step_time_s else 0.0))
    return tuple(sorted(results, key=lambda item: (-item.saved_s, item.resource)))


def _trials(program: Program, levels: Sequence[str], speed: float) -> list[tuple[str, Program]]:
    tasks = program.tasks
    computes = tasks.kind == TaskKind.COMPUTE
    update = computes & (tasks.what == What.OPTIMIZER)
    transfers = tasks.kind == TaskKind.TRANSFER
    trials = [
        ("compute of all devices", computes & ~update),
        ("optimizer update (device memory bandwidth)", update),
        ("host (kernel launches)", (tasks.kind == TaskKind.WAIT) & (tasks.what == What.HOST)),
    ]
    chosen = [
        (name, _with_seconds(program, np.where(mask, 1.0 / speed, 1.0)))
        for name, mask in trials
        if (tasks.seconds[mask] > 0).any()
    ]
    for level, share in sorted(_level_shares(program).items()):
        name = f"bandwidth of {levels[level]}" if level < len(levels) else "bandwidth of the host link"
        scaled = _with_seconds(program, 1.0 - share * (1.0 - 1.0 / speed))
        chosen.append((name, _with_capacity(scaled, level, speed)))
    if (tasks.latency_s[transfers] > 0).any():
        quicker = dataclasses.replace(tasks, latency_s=tasks.latency_s / speed)
        chosen.append(("latency of the network", dataclasses.replace(program, tasks=quicker)))
    return chosen


def _with_seconds(program: Program, factor: Floats) -> Program:
    tasks = dataclasses.replace(program.tasks, seconds=program.tasks.seconds * factor)
    return dataclasses.replace(program, tasks=tasks)


def _with_capacity(program: Program, level: int, speed: float) -> Program:
    links = program.links
    capacity = np.where(links.level == level, links.capacity * speed, links.capacity)
    return dataclasses.replace(program, links=dataclasses.replace(links, capacity=capacity))


def _level_shares(program: Program) -> dict[int, Floats]:
    """Level -> (tasks,), what of a transfer's time the level takes.

    A transfer that crosses several levels spends its time on them in proportion to bytes over capacity.
    """
    tasks, routes, links = program.tasks, program.routes, program.links
    rows = len(routes)
    owner, entry = expand(routes.start, np.arange(rows, dtype=np.int64))
    link = routes.link[entry]
    # A link without limit takes no time.
    need = routes.nbytes[entry] / links.capacity[link]
    levels = np.unique(links.level[link])
    longest = np.zeros((len(levels), rows))
    np.maximum.at(longest, (np.searchsorted(levels, links.level[link]), owner), need)
    total = longest.sum(axis=0)
    portions = np.divide(longest, total, out=np.zeros_like(longest), where=total > 0)
    used = np.flatnonzero((tasks.kind == TaskKind.TRANSFER) & (tasks.route != NONE))
    shares: dict[int, Floats] = {}
    for place, level in enumerate(levels.tolist()):
        share = np.zeros(len(tasks))
        share[used] = portions[place][tasks.route[used]]
        if (share * tasks.seconds).any():
            shares[level] = share
    return shares
