"""How often a step waits for one slow link, by the terms of plans and by event simulation of their schedules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.predict import predict
from planner.layouts.knobs import parse_layout
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.program import What
from planner.simulator.schedules.generate import make_schedule
from planner.solvers.placement.hops import pipeline_term
from planner.solvers.placement.score import scorer
from planner.solvers.placement.traffic import Traffic
from tests.conftest import MakeJob

RANKS, MICRO_BATCHES = 8, 32
MESSAGE_S = 0.05


def simulated(name: str, chunks: int, slow: int | None) -> float:
    """Times that a message of one pair of ranks (None: of any pair) is waited for, one direction counted as one."""
    schedule = make_schedule(name, ranks=RANKS, micro_batches=MICRO_BATCHES, chunks=chunks)
    passes = PassSeconds(*(seconds / chunks for seconds in (1.0, 2.0, 1.0, 1.0)))
    program = pipeline_program(schedule, passes, hop_s=1.0)
    tasks = program.tasks
    hops = np.flatnonzero(tasks.what == What.HOP)
    sender = tasks.actor[program.before[program.before_start[hops]]]
    later, earlier = np.repeat(np.arange(len(tasks)), np.diff(program.before_start)), program.before
    after = np.zeros(len(tasks), dtype=np.int64)
    after[earlier] = later  # of a hop: the only task that waits for it
    receiver = tasks.actor[after[hops]]
    pairs = np.minimum(sender, receiver) + 0.5 * (np.abs(sender - receiver) > 1)
    seconds = tasks.seconds.copy()
    made = []
    for delay in (0.0, MESSAGE_S):
        seconds[hops] = delay if slow is None else np.where(pairs == slow, delay, 0.0)
        made.append(run_fixed(replace(program, tasks=replace(tasks, seconds=seconds))).makespan_s)
    return (made[1] - made[0]) / MESSAGE_S


@pytest.mark.parametrize(
    ("name", "chunks", "tolerance"),
    [
        ("1f1b", 1, 0.05),
        ("eager_1f1b", 1, 0.05),
        ("gpipe", 1, 0.05),
        ("interleaved_1f1b", 2, 0.1),
        ("zb_h2", 1, 0.1),
        ("dualpipe", 1, 0.35),
        ("dualpipe_v", 2, 0.35),
    ],
)
def test_a_slow_link_is_waited_for_as_often_as_in_events(
    make_job: MakeJob, name: str, chunks: int, tolerance: float
) -> None:
    shown = {"overlap": {"pp": False}}
    job = make_job("llama3-8b", devices=8 * RANKS, global_batch=MICRO_BATCHES, per_node=8, training=shown)
    layout = parse_layout(f"tp=8,pp={RANKS},micro_batch=1,schedule={name},vpp={chunks}", job)
    term = pipeline_term(job, layout, predict(job, layout))
    assert term is not None
    (group,) = term.groups
    plain = replace(term, groups=(replace(group, nbytes=MESSAGE_S, fixed_s=0.0),))

    def waited(slow: int | None) -> float:
        rates = np.full((RANKS, RANKS), np.inf)
        for place in range(RANKS - 1) if slow is None else [slow]:
            rates[place, place + 1] = rates[place + 1, place] = 1.0
        if slow is None:
            rates[0, -1] = rates[-1, 0] = 1.0
        return scorer(Traffic(RANKS, (plain,)), rates).cost(np.arange(RANKS)) / MESSAGE_S

    assert waited(None) == pytest.approx(simulated(name, chunks, None), rel=tolerance)
    for place in (0, 3, 6):
        assert waited(place) == pytest.approx(simulated(name, chunks, place), rel=tolerance, abs=0.5)
