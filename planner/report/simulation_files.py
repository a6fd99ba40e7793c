"""The files that a simulation can leave: traces, pictures, the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.errors import PlannerError
from planner.jobs.prediction import Prediction
from planner.report.memory_plot import Limits, chosen_ranks, draw_memory
from planner.report.pictures import check_picture
from planner.report.text import layout_words, seconds
from planner.report.timeline import draw_timeline
from planner.report.viewer import MOST_EVENTS as MOST_IN_PAGE
from planner.report.viewer import write_viewer
from planner.simulator.analysis.links_use import link_series
from planner.simulator.analysis.summary import Analysis
from planner.simulator.prediction import rank_memory
from planner.simulator.schedules.csv_file import write_schedule
from planner.simulator.simulation import Simulation
from planner.simulator.trace import MOST_EVENTS, trace_lines, write_trace
from planner.simulator.trace_events import TraceNames

MOST_COUNTED = 64
"""Of more actors than this, only those that stand for their pipeline rank have counters in a trace."""


@dataclass(frozen=True)
class Files:
    """Where to write what; None: not at all.

    Args:
        window: part of the step that the timeline shows, seconds; None for all.
    """

    trace: str | None = None
    page: str | None = None
    timeline: str | None = None
    memory_plot: str | None = None
    schedule: str | None = None
    window: tuple[float, float] | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """All that were asked for."""
        every = (self.trace, self.page, self.timeline, self.memory_plot, self.schedule)
        return tuple(path for path in every if path is not None)

    def check(self) -> None:
        """Refuse pictures of formats that cannot be drawn.

        Raises:
            PlannerError: an ending that names none.
        """
        for picture in (self.timeline, self.memory_plot):
            if picture is not None:
                check_picture(picture)

    def write(self, simulation: Simulation, analysis: Analysis, prediction: Prediction) -> list[str]:
        """Write them; a line about each.

        Raises:
            PlannerError: one cannot be written or is too large for its kind, or the window lies behind the step.
        """
        title = title_of(simulation)
        if self.window is not None and self.window[0] >= prediction.step_time_s:
            raise PlannerError(
                f"found {self.window[0]:g} s; the step ends at {prediction.step_time_s:.4g} s",
                field="--window",
            )
        # Refuses what is too large before anything is written.
        trace = None if self.trace is None else _trace(simulation, analysis)
        page = None if self.page is None else _trace(simulation, analysis, MOST_IN_PAGE, "--html")
        step = f"step {seconds(prediction.step_time_s)}, {layout_words(prediction.layout)}"
        done = []
        if self.schedule is not None:
            write_schedule(self.schedule, simulation.schedule)
            done.append(f"schedule written to {self.schedule}")
        if self.trace is not None and trace is not None:
            write_trace(self.trace, trace, f"{title}: {step}")
            done.append(f"trace written to {self.trace} (open it at ui.perfetto.dev or chrome://tracing)")
        if self.page is not None and page is not None:
            write_viewer(self.page, page, title, step)
            done.append(f"page written to {self.page}")
        if self.timeline is not None:
            labels = [str(rank) for rank in range(len(analysis.shown))]
            program, execution = simulation.program, simulation.execution
            draw_timeline(
                self.timeline,
                program,
                execution,
                simulation.schedule,
                analysis.shown,
                labels,
                f"{title}, {step}",
                self.window,
            )
            done.append(f"timeline written to {self.timeline}")
        if self.memory_plot is not None:
            _draw_memory(self.memory_plot, simulation, analysis, prediction, f"{title}, {step}")
            done.append(f"memory picture written to {self.memory_plot}")
        return done


def title_of(simulation: Simulation) -> str:
    """Model and devices: the heading of pictures."""
    job = simulation.job
    devices = int(simulation.actors.weight.sum())
    return f"{job.model.name} on {devices:,} × {job.cluster.accelerator.name}"


def _draw_memory(
    path: str, simulation: Simulation, analysis: Analysis, prediction: Prediction, title: str
) -> None:
    ranks = chosen_ranks([line.peak_bytes for line in analysis.memory])
    labels = [
        f"pipeline rank {rank}, device {simulation.actors.device[analysis.shown[rank]]}" for rank in ranks
    ]
    lines = [analysis.memory[rank] for rank in ranks]
    draw_memory(path, lines, labels, Limits.of(prediction.memory), title)


def _trace(
    simulation: Simulation, analysis: Analysis, limit: int = MOST_EVENTS, field: str = "--trace"
) -> Iterator[str]:
    actors, links = simulation.actors, simulation.program.links
    every = len(actors) <= MOST_COUNTED
    memory = rank_memory(simulation, range(len(actors))) if every else analysis.memory
    counted = np.arange(len(actors)) if every else np.asarray(analysis.shown)
    loaded = np.flatnonzero((simulation.execution.carried > 0) & np.isin(links.actor, counted))
    return trace_lines(
        simulation.program,
        simulation.execution,
        trace_names(simulation),
        memory,
        link_series(simulation.program, simulation.execution, loaded.tolist()),
        limit,
        field,
    )


def trace_names(simulation: Simulation) -> TraceNames:
    """Processes named after one device of each kind, its pipeline rank, and how many devices it stands for."""
    actors = simulation.actors
    titles = []
    for device, rank, weight in zip(
        actors.device.tolist(), actors.pipeline_rank.tolist(), actors.weight.tolist(), strict=True
    ):
        alike = "1 device" if weight == 1 else f"{weight:,} devices"
        titles.append(f"rank {device} (pipeline rank {rank}, {alike})")
    levels = [level.name for level in simulation.job.cluster.network]
    return TraceNames(titles, levels, title_of(simulation), simulation.schedule.slices)
