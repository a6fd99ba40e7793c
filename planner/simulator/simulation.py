"""One simulated step: what was run, when everything happened, and what it takes to explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.legality import require_legal
from planner.simulator.actors import Actors
from planner.simulator.analysis.memory import RankFacts, StageFacts
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.engine.shared import run_shared
from planner.simulator.facts import rank_facts, stage_facts
from planner.simulator.lowering.passes import PricedLayout, price_layout, stage_passes
from planner.simulator.lowering.step import lower_step
from planner.simulator.options import SimulationOptions
from planner.simulator.program import Execution, Program
from planner.simulator.schedules.of_layout import SPLIT, layout_schedule
from planner.simulator.schedules.schedule import Integers, Schedule

Engine = Callable[[Program], Execution]


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated step.

    Args:
        schedule: as it was run.
        actors: the devices that were told apart.
        priced: by class of sequence length; length_of: (units,), the class of each micro-batch.
        stages: by virtual stage, what passes keep in memory (each as the longest does); ranks: by pipeline rank, what is
            always there.
        engine: ran the program.
    """

    job: Job
    layout: Layout
    options: SimulationOptions
    schedule: Schedule
    actors: Actors
    priced: tuple[PricedLayout, ...]
    length_of: Integers
    program: Program
    execution: Execution
    stages: tuple[StageFacts, ...]
    ranks: tuple[RankFacts, ...]
    engine: Engine

    @property
    def step_time_s(self) -> float:
        return self.execution.makespan_s


def simulate(job: Job, layout: Layout, options: SimulationOptions | None = None) -> Simulation:
    """Simulates one step of a layout.

    Args:
        options: None for the job as it is described.

    Raises:
        PlannerError: the layout is illegal, its schedule cannot have this shape or dead-locks, or the step is too large.
    """
    options = options or SimulationOptions()
    require_legal(job, layout)
    schedule = fitted_schedule(job, layout)
    lowered = lower_step(job, layout, schedule, options)
    slows = lowered.program.slowdown > 0.0
    engine = run_shared if options.sharing or slows else run_fixed
    longest = lowered.priced[-1]
    return Simulation(
        job=job,
        layout=layout,
        options=options,
        schedule=schedule,
        actors=lowered.actors,
        priced=lowered.priced,
        length_of=lowered.length_of,
        program=lowered.program,
        execution=engine(lowered.program),
        stages=stage_facts(longest, schedule),
        ranks=tuple(rank_facts(longest, rank) for rank in range(layout.pp)),
        engine=engine,
    )


def fitted_schedule(job: Job, layout: Layout) -> Schedule:
    """The schedule of a layout, its order fitted to the stages' passes where the schedule allows it.

    Raises:
        PlannerError: it cannot have this shape, or its file is faulty.
    """
    schedule = layout_schedule(layout)
    if layout.schedule not in SPLIT:
        return schedule
    priced = price_layout(job, layout, schedule)
    return layout_schedule(layout, stage_passes(priced, split=SPLIT[layout.schedule]))
