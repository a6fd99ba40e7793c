"""Stages whose memory, host or link is shared: several virtual stages per rank, several ranks per host."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.solvers.stages.instance import Floats, Ints, StageProblem
from planner.solvers.stages.plan import StagePlan, priced


@dataclass(frozen=True)
class Pace:
    """How much each of three sums counts in the seconds by which a pipeline goes one micro-batch further.

    With equal stages all three are the same. The defaults are fitted to simulated steps (docs/stages.md).

    Args:
        own: of the longest sum of one rank's chunks.
        chunks: of the sum over chunks of the slowest rank's, since most ranks work on the same chunk at a time.
        largest: of the slowest stage times v, since ranks that work on different chunks wait for each other.
    """

    own: float = 0.69
    chunks: float = 0.24
    largest: float = 0.07

    def of(self, own: float, chunks: float, largest: float) -> float:
        """The pace from the three sums."""
        return self.own * own + self.chunks * chunks + self.largest * largest


PACE = Pace()


@dataclass(frozen=True, eq=False)
class CoupledProblem:
    """A stage problem over virtual stages, with what they share.

    With v chunks per rank the pipeline goes one micro-batch further in ``pace`` seconds (``Pace``), and the step lasts
    max((m - 1/v) pace, max over ranks of ((m - 1/v) own w + once)) + sum of w / v. With v = 1 that is the step of
    ``StageProblem``; with equal stages it is interleaved 1F1B's m v w + (p - 1) w.

    Args:
        stages: the virtual stages in the order of the layers; its capacities are those of their ranks.
        rank: (S,) pipeline rank of each virtual stage; chunk: (S,) its place among the rank's own.
        shared_bytes: (ranks,) what stages of a rank hold in common, so that it counts once (a tied table).
        host_bytes: (C, K, M) per micro-batch in flight that a layer's mode moves to its host.
        host: (ranks,) host of each rank.
        host_capacity_bytes: (hosts,) of memory for that.
        link_bytes_per_s: (hosts,) both ways together; the pipeline goes one micro-batch further no sooner than the ranks
            of a host have sent their bytes out and back.
    """

    stages: StageProblem
    rank: Ints
    chunk: Ints
    shared_bytes: Floats
    host_bytes: Floats
    host: Ints
    host_capacity_bytes: Floats
    link_bytes_per_s: Floats
    pace: Pace = PACE

    @property
    def ranks(self) -> int:
        return len(self.shared_bytes)

    @property
    def chunks(self) -> int:
        return int(self.chunk.max()) + 1

    @property
    def capacity_bytes(self) -> Floats:
        """(ranks,) of each rank, common bytes included."""
        capacity = np.full(self.ranks, np.inf)
        np.minimum.at(capacity, self.rank, self.stages.capacity_bytes)
        return capacity

    @property
    def paced_turns(self) -> float:
        """m - 1/v: how often the slowest stage is waited for."""
        return self.stages.micro_batches - 1.0 / self.chunks


def coupled_problem(
    stages: StageProblem,
    rank: Ints,
    *,
    shared_bytes: Floats | None = None,
    host_bytes: Floats | None = None,
    host: Ints | None = None,
    host_capacity_bytes: Floats | None = None,
    link_bytes_per_s: Floats | None = None,
) -> CoupledProblem:
    """A coupled problem where what is left out is not shared, or unlimited.

    Raises:
        ValueError: ranks hold different numbers of virtual stages.
    """
    places = np.asarray(rank, np.int64)
    count = np.bincount(places)
    if (count != count[0]).any():
        raise ValueError("every rank needs the same number of virtual stages")
    chunk = np.array([np.count_nonzero(places[:at] == one) for at, one in enumerate(places)], np.int64)
    hosts = np.zeros(len(count), np.int64) if host is None else np.asarray(host, np.int64)
    none = np.full(int(hosts.max()) + 1, np.inf)
    return CoupledProblem(
        stages,
        places,
        chunk,
        np.zeros(len(count)) if shared_bytes is None else np.asarray(shared_bytes, np.float64),
        np.zeros(stages.seconds.shape) if host_bytes is None else np.array(host_bytes, np.float64, ndmin=3),
        hosts,
        none if host_capacity_bytes is None else np.asarray(host_capacity_bytes, np.float64),
        none if link_bytes_per_s is None else np.asarray(link_bytes_per_s, np.float64),
    )


@dataclass(frozen=True, eq=False)
class CoupledCost:
    """What a cut with modes costs.

    Args:
        plan: stage by stage; its ``step_s`` is the coupled one.
        rank_bytes: (ranks,); host_held_bytes: (hosts,); link_s: (hosts,) seconds of link per micro-batch.
        pace_s: seconds by which the pipeline goes one micro-batch further.
    """

    plan: StagePlan
    rank_bytes: Floats
    host_held_bytes: Floats
    link_s: Floats
    pace_s: float

    def keeps(self, problem: CoupledProblem) -> bool:
        """Whether the memory of devices and hosts suffices."""
        slack = 1 + 1e-9
        return bool(
            (self.rank_bytes <= problem.capacity_bytes * slack).all()
            and (self.host_held_bytes <= problem.host_capacity_bytes * slack).all()
        )


def coupled_cost(problem: CoupledProblem, cuts: Ints, modes: Ints) -> CoupledCost:
    """Seconds and bytes of any cut and modes, whether they fit or not."""
    stages = problem.stages
    plain = priced(stages, cuts, modes)
    of_layer = np.repeat(np.arange(stages.stages), np.diff(cuts))
    bytes_of_layer = problem.host_bytes[stages.stage_class[of_layer], stages.layers, modes]
    moved = np.bincount(of_layer, bytes_of_layer, stages.stages).astype(np.float64)
    slowest = np.zeros(problem.chunks)
    np.maximum.at(slowest, problem.chunk, plain.seconds)

    def of_ranks(part: Floats) -> Floats:
        return np.bincount(problem.rank, part, problem.ranks).astype(np.float64)

    def of_hosts(part: Floats) -> Floats:
        hosts = len(problem.host_capacity_bytes)
        return np.bincount(problem.host[problem.rank], part, hosts).astype(np.float64)

    link_s = 2.0 * of_hosts(moved) / problem.link_bytes_per_s
    own = of_ranks(plain.seconds)
    sums = float(own.max()), float(slowest.sum()), problem.chunks * float(plain.seconds.max())
    pace = max(problem.pace.of(*sums), float(link_s.max()))
    alone = problem.paced_turns * own + of_ranks(plain.once_s)
    longest = max(problem.paced_turns * pace, float(alone.max()))
    step = longest + float(plain.seconds.sum()) / problem.chunks
    return CoupledCost(
        replace(plain, step_s=step),
        of_ranks(plain.bytes) + problem.shared_bytes,
        of_hosts(moved * stages.in_flight),
        link_s,
        pace,
    )
