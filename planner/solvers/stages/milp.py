"""The coupled stage problem as a mixed-integer programme over counts of layers, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solvers.linear import Builder, Programme, Term
from planner.solvers.stages.coupled import CoupledProblem
from planner.solvers.stages.instance import Floats, Ints

GB = 1e9
MS = 1e-3


@dataclass(frozen=True, eq=False)
class StageProgramme:
    """The programme with where its variables stand.

    Args:
        layers: (S, G, M) columns: layers of run g that stage s holds in mode k. A run is layers of one type in a row.
        done: (S, G - 1) columns: 1 when run g is used up by the end of stage s, so that later runs may begin.
        chunks: (chunks,) columns: milliseconds of each chunk's slowest rank; largest: of the slowest stage; own: of the
            longest sum of a rank's chunks.
        longest: column: milliseconds that the slowest rank adds to the step.
        run_type, run_length: (G,).
    """

    problem: CoupledProblem
    programme: Programme
    layers: Ints
    done: Ints
    chunks: Ints
    largest: int
    own: int
    longest: int
    run_type: Ints
    run_length: Ints

    def pace_terms(self, scale: float) -> tuple[Term, Term, Term]:
        """A multiple of the pace in milliseconds as terms of a single row."""
        pace, v = self.problem.pace, self.problem.chunks
        return (
            (self.own, scale * pace.own),
            (self.chunks[None], scale * pace.chunks),
            (self.largest, scale * pace.largest * v),
        )

    def start(self, cuts: Ints, modes: Ints) -> Floats:
        """Values of a cut with modes, to begin the search with."""
        stages, values = self.problem.stages, np.zeros(self.programme.columns)
        stage = np.repeat(np.arange(stages.stages), np.diff(cuts))
        run = np.repeat(np.arange(len(self.run_length)), self.run_length)
        np.add.at(values, self.layers[stage, run, modes], 1.0)
        held = values[self.layers].sum(axis=2)
        used = np.cumsum(held, axis=0) >= self.run_length
        values[self.done] = np.logical_and.accumulate(used[:, :-1], axis=1)
        seconds = stages.fixed_s + (values[self.layers] * self._seconds()).sum(axis=(1, 2))
        slowest = np.zeros(self.problem.chunks)
        np.maximum.at(slowest, self.problem.chunk, seconds / MS)
        own = np.bincount(self.problem.rank, seconds)
        sums = float(own.max()) / MS, float(slowest.sum()), float(seconds.max()) / MS
        values[self.own], values[self.chunks], values[self.largest] = sums[0], slowest, sums[2]
        once = stages.fixed_once_s + (held * stages.once_s[stages.stage_class][:, self.run_type]).sum(axis=1)
        of_rank = (self.problem.paced_turns * own + np.bincount(self.problem.rank, once)) / MS
        pace = self.problem.pace.of(sums[0], sums[1], self.problem.chunks * sums[2])
        values[self.longest] = max(self.problem.paced_turns * pace, of_rank.max())
        return values

    def plan(self, values: Floats) -> tuple[Ints, Ints]:
        """(cuts, modes) that values stand for; in a run on a stage the last modes come first."""
        counts = np.rint(values[self.layers]).astype(np.int64)
        cuts = np.concatenate([[0], np.cumsum(counts.sum(axis=(1, 2)))])
        order = np.arange(counts.shape[2])[::-1]
        modes = np.concatenate(
            [
                np.repeat(order, counts[stage, run, order])
                for stage in range(len(counts))
                for run in range(counts.shape[1])
            ]
        )
        return cuts, modes

    def _seconds(self) -> Floats:
        stages = self.problem.stages
        times = stages.seconds[stages.stage_class][:, self.run_type]
        return np.where(np.isfinite(times), times, 0.0)


def stage_programme(problem: CoupledProblem) -> StageProgramme:
    """Minimise longest + sum of seconds / v over whole numbers of layers per stage, run and mode.

    Runs instead of single layers keep equal layers interchangeable, which per-layer binaries are not.
    """
    stages = problem.stages
    ends = np.flatnonzero(np.diff(stages.layers, append=-1))
    lengths = np.diff(ends, prepend=-1)
    kinds = stages.layers[ends]
    times = stages.seconds[stages.stage_class][:, kinds] / MS
    exists = np.isfinite(times)
    times = np.where(exists, times, 0.0)
    builder = Builder()
    most = np.where(exists, lengths[:, None], 0)
    layers = builder.variables("n", times.shape, upper=most, integer=True, cost=times / problem.chunks)
    done = builder.variables("done", (stages.stages, len(lengths) - 1), upper=1, integer=True)
    chunks = builder.variables("chunk", problem.chunks)
    largest, own = builder.variables("largest"), builder.variables("own")
    longest = builder.variables("longest", cost=1.0)
    columns = (layers, done, chunks, int(largest), int(own), int(longest), kinds, lengths)
    made = StageProgramme(problem, builder.programme(), *columns)
    _add_order(builder, made)
    _add_times(builder, made, times)
    _add_memory(builder, made)
    _add_hosts(builder, made)
    return StageProgramme(problem, builder.programme(), *columns)


def _add_order(builder: Builder, made: StageProgramme) -> None:
    """All layers are dealt out, no stage is empty, and a run begins only where the one before is used up."""
    layers, done, lengths = made.layers, made.done, made.run_length
    stages, runs, _ = layers.shape
    builder.add(
        "count",
        (layers.swapaxes(0, 1), 1.0),
        equal=lengths,
        meaning="every layer is somewhere",
        definition=True,
    )
    fewest = np.where(made.problem.stages.may_be_empty, 0.0, 1.0)
    builder.add("filled", (layers, 1.0), lower=fewest, meaning="a layer on every stage that needs one")
    for run in range(runs - 1):
        for stage in range(stages):
            before = layers[: stage + 1].reshape(1, stage + 1, runs, -1)
            flag = done[stage : stage + 1, run]
            now, after = before[:, :, run], before[:, :, run + 1]
            builder.add(
                "order",
                (now, 1.0),
                (flag, -float(lengths[run])),
                lower=0.0,
                meaning="the order of layers",
                definition=True,
            )
            builder.add("order", (after, 1.0), (flag, -float(lengths[run + 1])), upper=0.0)


def _add_times(builder: Builder, made: StageProgramme, times: Floats) -> None:
    problem, stages = made.problem, made.problem.stages
    turns = problem.paced_turns
    builder.add(
        "pace",
        (made.layers, times),
        (made.chunks[problem.chunk], -1.0),
        upper=-stages.fixed_s / MS,
        meaning="nothing is slower than the pace",
        unit="ms",
        definition=True,
    )
    spread = (made.layers, times), (made.largest, -1.0)
    builder.add("pace", *spread, upper=-stages.fixed_s / MS)
    builder.add(
        "step",
        *made.pace_terms(turns),
        (made.longest, -1.0),
        upper=0.0,
        meaning="the step",
        unit="ms",
        definition=True,
    )
    once = stages.once_s[stages.stage_class][:, made.run_type] / MS
    beside = np.bincount(problem.rank, stages.fixed_s) / MS
    fixed = turns * beside + np.bincount(problem.rank, stages.fixed_once_s) / MS
    for rank in range(problem.ranks):
        mine = np.flatnonzero(problem.rank == rank)
        builder.add(
            "pace", (made.layers[mine][None], times[mine][None]), (made.own, -1.0), upper=-beside[rank]
        )
        cost = turns * times[mine] + once[mine][:, :, None]
        builder.add("step", (made.layers[mine][None], cost[None]), (made.longest, -1.0), upper=-fixed[rank])


def _add_memory(builder: Builder, made: StageProgramme) -> None:
    problem, stages = made.problem, made.problem.stages
    kinds, device = made.run_type, stages.stage_class
    held = stages.in_flight[:, None, None] * stages.kept_bytes[device][:, kinds]
    held = (held + stages.static_bytes[device][:, kinds][:, :, None]) / GB
    fixed = np.bincount(problem.rank, stages.fixed_bytes, problem.ranks) + problem.shared_bytes
    left = (problem.capacity_bytes - fixed) / GB
    for rank in range(problem.ranks):
        mine = np.flatnonzero(problem.rank == rank)
        builder.add(
            "memory",
            (made.layers[mine][None], held[mine][None]),
            upper=left[rank],
            meaning="device memory of each rank",
            unit="GB",
        )


def _add_hosts(builder: Builder, made: StageProgramme) -> None:
    problem, stages = made.problem, made.problem.stages
    moved = problem.host_bytes[stages.stage_class][:, made.run_type] / GB
    for host in range(len(problem.host_capacity_bytes)):
        mine = np.flatnonzero(problem.host[problem.rank] == host)
        columns = made.layers[mine][None]
        room, rate = problem.host_capacity_bytes[host] / GB, problem.link_bytes_per_s[host] / GB * MS
        if not moved.any():
            continue
        if np.isfinite(room):
            held = stages.in_flight[mine][:, None, None] * moved[mine]
            builder.add(
                "host_memory", (columns, held[None]), upper=room, meaning="memory of each host", unit="GB"
            )
        if np.isfinite(rate):
            both_ways = 2.0 * moved[mine] / rate
            builder.add(
                "host_link",
                (columns, both_ways[None]),
                *made.pace_terms(-1.0),
                upper=0.0,
                meaning="what a host's link moves while the pipeline goes one micro-batch further",
                unit="ms",
            )
