"""Collectives message by message under the conventions of ASTRA-sim's analytical backend (astra-sim/astra-network-analytical).

Its GB is 2^30; a message takes whole nanoseconds, rounded down; an NPU needs an endpoint delay before its first message
and after each that it receives, and three passes over its memory for each reduction; a switch stores a whole message
before it forwards it. Time is in nanoseconds here, and a link's capacity what whole nanoseconds make of it.
"""

from __future__ import annotations

import math

import numpy as np

from planner.simulator.program import Floats, Program, ProgramBuilder, TaskKind
from tests.simulator.engine.programs import links

BANDWIDTH = 50 * 2**30 / 1e9
LATENCY = 500.0
ENDPOINT = 10.0
MEMORY = 1600.0
"""Bytes per nanosecond, ns, ns, bytes per nanosecond."""


def ring_all_reduce(npus: int, nbytes: float, simulated: int) -> Program:
    """2 (N - 1) steps; in the first half each NPU reduces what it received.

    Args:
        nbytes: of the whole buffer.
        simulated: that many stand for all, each the neighbour of the one before it.
    """
    part = nbytes / npus
    handling = np.full(2 * (npus - 1), ENDPOINT)
    handling[: npus - 1] += 3 * math.floor(part / MEMORY)
    return _ring(simulated, part, handling)


def ring_all_gather(npus: int, nbytes: float, simulated: int) -> Program:
    """N - 1 steps, each with a whole shard.

    Args:
        nbytes: of one NPU's shard.
    """
    return _ring(simulated, nbytes, np.full(npus - 1, ENDPOINT))


def switch_all_to_all(npus: int, nbytes: float, simulated: int) -> Program:
    """Every NPU sends one part to each other one, the nearest first, through the switch.

    A message occupies its sender's port, flies, occupies its receiver's port, flies.
    """
    part = nbytes / npus
    seconds = math.floor(part / BANDWIDTH)
    builder = ProgramBuilder()
    npu = np.arange(simulated)
    up, down = (np.array([builder.stream(int(one), name) for one in npu]) for name in ("up", "down"))
    leaving = np.array([builder.route([(int(one), part)], []) for one in npu])
    arriving = np.array([builder.route([(simulated + int(one), part)], []) for one in npu])
    ready = builder.add(simulated, kind=TaskKind.WAIT, seconds=ENDPOINT, actor=npu)
    finished = builder.add(simulated, kind=TaskKind.WAIT, seconds=ENDPOINT, actor=npu)
    for step in range(1, npus):
        target = (npu + step) % simulated
        both = {"kind": TaskKind.TRANSFER, "position": step}
        sent = builder.add(simulated, **both, seconds=seconds, stream=up, route=leaving, actor=npu)
        stored = builder.add(simulated, kind=TaskKind.WAIT, seconds=LATENCY, actor=npu)
        passed = builder.add(
            simulated, **both, seconds=seconds, stream=down[target], route=arriving[target], actor=target
        )
        landed = builder.add(simulated, kind=TaskKind.WAIT, seconds=LATENCY, actor=target)
        for later, earlier in ((sent, ready), (stored, sent), (passed, stored), (landed, passed)):
            builder.after(later, earlier)
        builder.after(finished[target], landed)
    return builder.build(links([part / seconds] * (2 * simulated)), simulated)


def _ring(simulated: int, part: float, handling: Floats) -> Program:
    """Steps of one message to the next NPU and the handling of the one received."""
    seconds = math.floor(part / BANDWIDTH + LATENCY) - LATENCY
    builder = ProgramBuilder()
    npu = np.arange(simulated)
    port = np.array([builder.stream(int(one), "out") for one in npu])
    route = np.array([builder.route([(int(one), part)], []) for one in npu])
    ready = builder.add(simulated, kind=TaskKind.WAIT, seconds=ENDPOINT, actor=npu)
    for step, work in enumerate(handling):
        sent = builder.add(
            simulated,
            kind=TaskKind.TRANSFER,
            seconds=seconds,
            latency_s=LATENCY,
            stream=port,
            position=step,
            route=route,
            actor=npu,
        )
        builder.after(sent, ready)
        ready = builder.add(simulated, kind=TaskKind.COMPUTE, seconds=work, actor=npu)
        builder.after(ready[(npu + 1) % simulated], sent)
    return builder.build(links([part / seconds] * simulated), simulated)
