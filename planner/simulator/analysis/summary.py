"""Everything that a simulation answers, put together: for the report and for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.analysis.critical_path import CriticalPath, critical_path
from planner.simulator.analysis.links_use import (
    AxisUse,
    LinkUse,
    axis_use,
    busiest_by_level,
    busiest_links,
    level_utilisation,
)
from planner.simulator.analysis.memory import MemoryTimeline
from planner.simulator.analysis.time_classes import TimeClasses, time_classes
from planner.simulator.analysis.what_if import WhatIf, what_if
from planner.simulator.prediction import busiest_actors, rank_memory
from planner.simulator.simulation import Simulation

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What one simulated step tells.

    Args:
        shown: by pipeline rank, its busiest actor, which stands for it.
        memory: by pipeline rank, of that actor.
        axes: what moved on each axis.
        levels: mean utilisation of each network level's links; level_links: the busiest link of each.
        links: the busiest of all.
        questions: what-if answers, empty where none were asked for.
    """

    classes: TimeClasses
    shown: tuple[int, ...]
    memory: tuple[MemoryTimeline, ...]
    axes: tuple[AxisUse, ...]
    levels: Mapping[str, float]
    level_links: tuple[LinkUse, ...]
    links: tuple[LinkUse, ...]
    path: CriticalPath
    questions: tuple[WhatIf, ...] = ()

    @property
    def fullest(self) -> int:
        """The pipeline rank whose peak is highest."""
        return max(range(len(self.memory)), key=lambda rank: self.memory[rank].peak_bytes)


def analyse(simulation: Simulation, *, ask: bool = False, progress: Progress | None = None) -> Analysis:
    """Analyses a simulated step.

    Args:
        ask: also run the what-if questions, one more run each.
    """
    program, execution = simulation.program, simulation.execution
    rank_of = simulation.actors.pipeline_rank
    levels = [level.name for level in simulation.job.cluster.network]
    devices = simulation.actors.device.tolist()
    classes = time_classes(program, execution)
    shown = tuple(busiest_actors(simulation, classes))
    used = level_utilisation(program, execution)
    return Analysis(
        classes=classes,
        shown=shown,
        memory=rank_memory(simulation, shown),
        axes=axis_use(program, execution),
        levels={
            (levels[level] if level < len(levels) else "host"): share
            for level, share in used.items()
            if share > 0
        },
        level_links=busiest_by_level(program, execution, levels, devices),
        links=busiest_links(program, execution, levels, devices),
        path=critical_path(program, execution, simulation.schedule, rank_of.tolist(), devices),
        questions=what_if(program, simulation.engine, classes.step_s, levels, progress=progress)
        if ask
        else (),
    )


def analysis_json(simulation: Simulation, analysis: Analysis) -> dict[str, Any]:
    """Plain data for JSON: the object ``simulation`` of ``plan simulate --json``."""
    classes, options = analysis.classes, simulation.options
    return {
        "actors": len(simulation.actors),
        "devices": int(simulation.actors.weight.sum()),
        "tasks": len(simulation.program.tasks),
        "merge": options.merge,
        "sharing": options.sharing,
        "slowdown": options.slowdown,
        "step_time_s": classes.step_s,
        "global_bubble_s": classes.global_bubble_s,
        "ranks": [_rank_json(simulation, analysis, rank) for rank in range(len(analysis.shown))],
        "axes": [_axis_json(simulation, analysis, use) for use in analysis.axes],
        "levels": {name: float(share) for name, share in analysis.levels.items()},
        "busiest_links": [
            {"name": use.name, "carried_bytes": use.carried_bytes, "utilisation": use.utilisation}
            for use in analysis.links
        ],
        "critical_path": {
            "shares": [
                {"cause": item.cause, "seconds": item.seconds, "share": item.share}
                for item in analysis.path.shares
            ],
            "stretched_s": analysis.path.stretched_s,
        },
        "what_if": [
            {"resource": item.resource, "step_time_s": item.step_time_s, "saved_s": item.saved_s}
            for item in analysis.questions
        ],
    }


def _rank_json(simulation: Simulation, analysis: Analysis, rank: int) -> dict[str, Any]:
    actor, memory = analysis.shown[rank], analysis.memory[rank]
    classes = analysis.classes
    return {
        "pipeline_rank": rank,
        "device": int(simulation.actors.device[actor]),
        "busy_s": float(classes.busy[actor]),
        "bubble_s": float(classes.rank_bubble[actor]),
        "exposed_s": float(classes.exposed[actor].sum()),
        "memory": {
            "peak_bytes": memory.peak_bytes,
            "peak_time_s": memory.peak_time_s,
            "peak_at": memory.peak_at,
            "by_class": memory.at_peak(),
        },
    }


def _axis_json(simulation: Simulation, analysis: Analysis, use: AxisUse) -> dict[str, Any]:
    """Bytes of all devices; seconds of the actor that this axis keeps longest."""
    exposed = analysis.classes.exposed[:, EXPOSED_AXES.index(use.axis)]
    return {
        "axis": use.axis,
        "sent_bytes": float((use.sent_bytes * simulation.actors.weight).sum()),
        "seconds": float(use.seconds.max()),
        "exposed_s": float(exposed.max()),
    }
