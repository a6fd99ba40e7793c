"""How much every link carried, how busy it was, and what each axis moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.analysis.columns import axis_of, expand, members_of
from planner.simulator.program import NONE, Execution, Floats, Program, TaskKind


@dataclass(frozen=True)
class LinkUse:
    """One link over the step.

    Args:
        link: its index.
        name: level, device and direction in words.
        utilisation: carried bytes over capacity x makespan.
    """

    link: int
    name: str
    carried_bytes: float
    capacity: float
    utilisation: float


@dataclass(frozen=True, eq=False)
class AxisUse:
    """What an axis moved; arrays over actors.

    Args:
        sent_bytes: on the actor's outgoing links, all levels together.
        seconds: sum of the times in flight of the transfers that the actor takes part in (they may overlap).
    """

    axis: str
    sent_bytes: Floats
    seconds: Floats


@dataclass(frozen=True, eq=False)
class LinkSeries:
    """Load of one link: from ``times[i]`` on it carries ``rate[i]`` bytes/s."""

    link: int
    times: Floats
    rate: Floats


def utilisation(program: Program, execution: Execution) -> Floats:
    """(links,), carried bytes over what the link could have carried in the step."""
    possible = program.links.capacity * execution.makespan_s
    return np.divide(execution.carried, possible, out=np.zeros(len(possible)), where=possible > 0)


def link_name(program: Program, link: int, levels: Sequence[str], devices: Sequence[int]) -> str:
    """A link in words: "infiniband, device 12 sends".

    Args:
        levels: names of the network levels, innermost first; the level after them is the host's.
        devices: representative device of every actor.
    """
    links = program.links
    level = int(links.level[link])
    name = levels[level] if level < len(levels) else "host"
    direction = "sends" if links.outgoing[link] else "receives"
    return f"{name}, device {devices[int(links.actor[link])]} {direction}"


def busiest_links(
    program: Program, execution: Execution, levels: Sequence[str], devices: Sequence[int], count: int = 5
) -> tuple[LinkUse, ...]:
    """The links that were busiest over the step, busiest first; those that carried nothing stay out.

    Args:
        levels, devices: as in ``link_name``.
    """
    share = utilisation(program, execution)
    order = np.lexsort((np.arange(len(share)), -share))[:count]
    return tuple(
        LinkUse(
            link=int(link),
            name=link_name(program, int(link), levels, devices),
            carried_bytes=float(execution.carried[link]),
            capacity=float(program.links.capacity[link]),
            utilisation=float(share[link]),
        )
        for link in order
        if execution.carried[link] > 0
    )


def busiest_by_level(
    program: Program, execution: Execution, levels: Sequence[str], devices: Sequence[int]
) -> tuple[LinkUse, ...]:
    """The busiest link of every level that carried anything, innermost level first."""
    every = busiest_links(program, execution, levels, devices, count=len(program.links))
    first: dict[int, LinkUse] = {}
    for use in every:
        first.setdefault(int(program.links.level[use.link]), use)
    return tuple(first[level] for level in sorted(first))


def level_utilisation(program: Program, execution: Execution) -> dict[int, float]:
    """Level -> mean utilisation of its links over all actors and both directions."""
    share, level = utilisation(program, execution), program.links.level
    return {int(index): float(share[level == index].mean()) for index in np.unique(level)}


def axis_use(program: Program, execution: Execution) -> tuple[AxisUse, ...]:
    """What every axis moved, those without transfers left out."""
    tasks, routes, links = program.tasks, program.routes, program.links
    axes = axis_of(tasks)
    transfers = np.flatnonzero((tasks.kind == TaskKind.TRANSFER) & (axes != NONE))
    shape = (len(EXPOSED_AXES), program.actors)
    sent, seconds = np.zeros(shape), np.zeros(shape)
    routed = transfers[tasks.route[transfers] != NONE]
    owner, entry = expand(routes.start, tasks.route[routed])
    leaving = links.outgoing[routes.link[entry]]
    owner, entry = owner[leaving], entry[leaving]
    np.add.at(sent, (axes[routed[owner]], links.actor[routes.link[entry]]), routes.nbytes[entry])
    which, actor = members_of(program, transfers)
    chosen = transfers[which]
    np.add.at(seconds, (axes[chosen], actor), execution.end[chosen] - execution.start[chosen])
    used = np.unique(axes[transfers])
    return tuple(AxisUse(EXPOSED_AXES[axis], sent[axis], seconds[axis]) for axis in used)


def link_series(program: Program, execution: Execution, links: Sequence[int]) -> tuple[LinkSeries, ...]:
    """Load of some links over time: each transfer moves its bytes at one mean rate from the end of its latency on."""
    tasks, routes = program.tasks, program.routes
    moving = execution.end - execution.start - tasks.latency_s
    transfers = np.flatnonzero((tasks.kind == TaskKind.TRANSFER) & (tasks.route != NONE) & (moving > 0))
    owner, entry = expand(routes.start, tasks.route[transfers])
    wanted = np.isin(routes.link[entry], np.asarray(links, dtype=np.int64))
    owner, entry = owner[wanted], entry[wanted]
    order = np.argsort(routes.link[entry], kind="stable")
    owner, entry = owner[order], entry[order]
    task, link = transfers[owner], routes.link[entry]
    rate = routes.nbytes[entry] / moving[task]
    begin, end = execution.start[task] + tasks.latency_s[task], execution.end[task]
    bounds = np.stack([np.searchsorted(link, links, side) for side in ("left", "right")], axis=1)
    return tuple(
        _series(int(one), begin[low:high], end[low:high], rate[low:high])
        for one, (low, high) in zip(links, bounds.tolist(), strict=True)
    )


def _series(link: int, begin: Floats, end: Floats, rate: Floats) -> LinkSeries:
    times = np.concatenate([[0.0], begin, end])
    change = np.concatenate([[0.0], rate, -rate])
    points, place = np.unique(times, return_inverse=True)
    steps = np.bincount(place, change, minlength=len(points))
    load = np.cumsum(steps)
    # What is left of cancelled sums is rounding, not load.
    load[np.abs(load) < 1e-9 * np.abs(change).max()] = 0.0
    return LinkSeries(link, points, np.maximum(load, 0.0))
