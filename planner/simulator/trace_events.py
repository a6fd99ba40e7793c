"""The events of a trace: slices, flow arrows and counters, each written as one line of JSON when its turn comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES, MEMORY_CLASSES
from planner.simulator.analysis.columns import axis_of
from planner.simulator.analysis.links_use import LinkSeries
from planner.simulator.analysis.memory import MemoryTimeline
from planner.simulator.analysis.passes_run import unit_name
from planner.simulator.program import NONE, Floats, Integers, Program, What
from planner.simulator.trace_tracks import Arrows, Slices

LABELS = {
    What.FORWARD: "F",
    What.BACKWARD: "B",
    What.INPUT_GRADIENT: "I",
    What.WEIGHT_GRADIENT: "W",
    What.FORWARD_BACKWARD: "F&B",
    What.OPTIMIZER: "update",
    What.HOST: "host",
    What.EXCHANGE: "exchange",
    What.HOP: "hop",
    What.GATHER: "gather parameters",
    What.REDUCE: "reduce gradients",
    What.TIED_REDUCE: "reduce tied embedding",
    What.OFFLOAD_OUT: "offload",
    What.OFFLOAD_IN: "fetch",
}

Line = Callable[[int], str]


@dataclass(frozen=True)
class TraceNames:
    """What a trace calls things.

    Args:
        actors: title of each actor's process; levels: names of the network levels, innermost first.
        title: of the whole trace.
        slices: parts that every sequence is cut in; micro-batches of a program are then counted in parts.
    """

    actors: Sequence[str]
    levels: Sequence[str]
    title: str = "simulated step"
    slices: int = 1


@dataclass(frozen=True, eq=False)
class Block:
    """Events of one kind: when, and how each is written."""

    time_ns: Integers
    line: Line


def _us(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"


def slice_block(program: Program, drawn: Slices, tracks: Sequence[tuple[int, int]], parts: int = 1) -> Block:
    """Complete events of all slices.

    Args:
        tracks: (process, thread) of every track.
        parts: that every sequence is cut in.
    """
    tasks = program.tasks
    columns = (drawn.start_ns, drawn.end_ns, drawn.track)
    start, end, track = (column.tolist() for column in columns)
    what, stage, unit = (
        column[drawn.task].tolist() for column in (tasks.what, tasks.stage, tasks.micro_batch)
    )
    axis = axis_of(tasks)[drawn.task].tolist()
    nbytes = _largest_load(program)[tasks.route[drawn.task]].tolist()
    labels = {int(code): label for code, label in LABELS.items()}

    def line(i: int) -> str:
        process, thread = tracks[track[i]]
        name = labels[what[i]]
        if what[i] == What.EXCHANGE and axis[i] != NONE:
            name = f"{EXPOSED_AXES[axis[i]]} {name}"
        if unit[i] != NONE:
            name = f"{name} {unit_name(unit[i], parts)}"
        facts = [f'"stage":{stage[i]}'] if stage[i] != NONE else []
        if unit[i] != NONE:
            facts.append(f'"micro_batch":{unit[i] // parts}')
            if parts > 1:
                facts.append(f'"slice":{unit[i] % parts}')
        if nbytes[i] > 0:
            facts.append(f'"bytes":{nbytes[i]:.0f}')
        kind = EXPOSED_AXES[axis[i]] if axis[i] != NONE else "compute"
        return (
            f'{{"ph":"X","name":"{name}","cat":"{kind}","pid":{process},"tid":{thread},'
            f'"ts":{_us(start[i])},"dur":{_us(end[i] - start[i])},"args":{{{",".join(facts)}}}}}'
        )

    return Block(drawn.start_ns, line)


def _largest_load(program: Program) -> Floats:
    """(routes + 1,), bytes on the most loaded link of each route; the last entry, 0, is for transfers without one."""
    routes = program.routes
    largest = np.zeros(len(routes) + 1)
    owner = np.repeat(np.arange(len(routes)), np.diff(routes.start))
    np.maximum.at(largest, owner, routes.nbytes)
    return largest


def arrow_blocks(drawn: Slices, ways: Arrows, tracks: Sequence[tuple[int, int]]) -> list[Block]:
    """Flow events: from the giving slice (its last nanosecond) through the hop to the taking one."""
    whole = np.flatnonzero((ways.giver != NONE) & (ways.taker != NONE))
    steps = (
        ("s", ways.giver[whole], drawn.end_ns[ways.giver[whole]] - 1),
        ("t", ways.hop[whole], drawn.start_ns[ways.hop[whole]]),
        ("f", ways.taker[whole], drawn.start_ns[ways.taker[whole]]),
    )
    return [Block(time, _arrow_line(phase, at, time, drawn, tracks)) for phase, at, time in steps]


def _arrow_line(
    phase: str, at: Integers, time: Integers, drawn: Slices, tracks: Sequence[tuple[int, int]]
) -> Line:
    track, times = drawn.track[at].tolist(), time.tolist()

    def line(i: int) -> str:
        process, thread = tracks[track[i]]
        return (
            f'{{"ph":"{phase}","name":"hop","cat":"hop","id":{i + 1},"bp":"e",'
            f'"pid":{process},"tid":{thread},"ts":{_us(times[i])}}}'
        )

    return line


def memory_block(timeline: MemoryTimeline) -> Block:
    """Live GiB by class; of the changes at one instant the last counts."""
    time = np.rint(timeline.times * 1e9).astype(np.int64)
    last = np.flatnonzero(np.diff(time, append=time[-1] + 1))
    used = np.flatnonzero(timeline.by_class.max(axis=1) > 0)
    rows = (timeline.by_class[np.ix_(used, last)] / 2.0**30).T.tolist()
    classes = [MEMORY_CLASSES[index] for index in used]
    times = time[last].tolist()

    def line(i: int) -> str:
        values = ",".join(f'"{name}":{value:.6g}' for name, value in zip(classes, rows[i], strict=True))
        return (
            f'{{"ph":"C","name":"memory (GiB)","pid":{timeline.actor},"ts":{_us(times[i])},'
            f'"args":{{{values}}}}}'
        )

    return Block(time[last], line)


def load_block(program: Program, names: TraceNames, series: LinkSeries) -> Block:
    """Load of one link in GB/s."""
    links = program.links
    level, actor = int(links.level[series.link]), int(links.actor[series.link])
    place = names.levels[level] if level < len(names.levels) else "host"
    title = json.dumps(f"{place} {'out' if links.outgoing[series.link] else 'in'}")
    time = np.rint(series.times * 1e9).astype(np.int64)
    # Mean rates of transfers that overlap for a while may add up to more than ever flows at once.
    times, rate = time.tolist(), (np.minimum(series.rate, links.capacity[series.link]) / 1e9).tolist()

    def line(i: int) -> str:
        return (
            f'{{"ph":"C","name":{title},"pid":{actor},"ts":{_us(times[i])},"args":{{"GB/s":{rate[i]:.6g}}}}}'
        )

    return Block(time, line)
