"""The program of a whole step: all ranks' passes, the messages between them, the update. Docs: docs/simulator.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.hops import blocks_hops
from planner.errors import PlannerError
from planner.jobs.prediction import EXPOSED_AXES
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.simulator.actors import Actors, partition
from planner.simulator.device_groups import device_groups
from planner.simulator.links import NetworkLinks, network_links
from planner.simulator.lowering.finish import finish_rank, rank_ends
from planner.simulator.lowering.hops import HopLowering, messages
from planner.simulator.lowering.host import HostTraffic, host_traffic
from planner.simulator.lowering.passes import Moved, PricedLayout, price_layout, with_length
from planner.simulator.lowering.plan import RankPlan
from planner.simulator.lowering.rank import LoweredRank, RankLowering
from planner.simulator.lowering.stamp import AxisGroups, Item, Stamp, Where
from planner.simulator.lowering.traffic import ReplicaTraffic, rank_traffic
from planner.simulator.options import SimulationOptions
from planner.simulator.perturbations import device_speeds, link_factors, pass_jitter
from planner.simulator.program import NONE, Program, ProgramBuilder, What
from planner.simulator.schedules.schedule import Integers, Schedule

MAX_TASKS = 30_000_000
"""More would not fit into the memory of an ordinary machine."""

Members = dict[tuple[str, int, int], tuple[tuple[int, ...], ...]]
"""(axis, first, size) -> groups of actors."""

CONCRETE = {"dp": "dp_cp", "edp": "edp"}
"""Axis of replica traffic -> the mesh axis (or pair of axes) whose ranks hold the same weights."""


@dataclass(frozen=True, eq=False)
class LoweredStep:
    """A step ready to run.

    Args:
        priced: by class of sequence length; the first is the job's own where all micro-batches are alike.
        length_of: (units,), the class of each micro-batch.
    """

    program: Program
    actors: Actors
    priced: tuple[PricedLayout, ...]
    length_of: Integers
    host: tuple[HostTraffic, ...]


def lower_step(job: Job, layout: Layout, schedule: Schedule, options: SimulationOptions) -> LoweredStep:
    """The program of one step.

    Raises:
        PlannerError: lengths that do not match the micro-batches, more tasks than fit, a perturbation of what is not there.
    """
    priced, length_of = _priced(job, layout, schedule, options.lengths)
    perturbed = options.perturbations
    jitter = perturbed is not None and perturbed.jitter > 0.0
    factors = None if perturbed is None else link_factors(perturbed, job.cluster, job.devices)
    actors = partition(
        layout,
        job.devices,
        speed=None if perturbed is None else device_speeds(perturbed, job.devices),
        link_factors=factors,
        merge="none" if jitter else options.merge,
    )
    _check_size(schedule, actors)
    network = network_links(job.cluster, actors, factors)
    builder = ProgramBuilder()
    scale = None
    if perturbed is not None and jitter:
        scale = pass_jitter(perturbed, (max(len(a) for a in schedule.actions) + 1, len(actors)))
    ends, host = rank_ends(priced[0]), tuple(host_traffic(priced[0], rank) for rank in range(layout.pp))
    traffic, every = rank_traffic(priced[0]), Members()
    stamps, groups, lowered = [], [], []
    for rank in range(layout.pp):
        mine = np.flatnonzero(actors.pipeline_rank == rank)
        own = None if scale is None else scale[:, mine]
        stamp = Stamp(builder, network, mine, actors.speed[mine], options.sharing, own)
        groups_of = _GroupsOf(stamp, layout, actors, every)
        plans = _plans(priced, rank, traffic[rank], host[rank], options, schedule.slices)
        lowering = RankLowering(stamp, plans, length_of, schedule.model_stage, groups_of)
        stamps.append(stamp)
        groups.append(groups_of)
        lowered.append(lowering.lower(schedule.actions[rank]))
    _hops(job, layout, schedule, options, builder, network, actors, priced, length_of, lowered)
    tied = _tied(stamps, actors, lowered, [end.tied for end in ends])
    for rank, stamp in enumerate(stamps):
        finish_rank(stamp, lowered[rank], ends[rank], host[rank], groups[rank], tied[rank])
    slowdown = job.framework.overlap_slowdown if options.slowdown else 0.0
    return LoweredStep(builder.build(network.links, len(actors), slowdown), actors, priced, length_of, host)


def _priced(
    job: Job, layout: Layout, schedule: Schedule, lengths: tuple[int, ...] | None
) -> tuple[tuple[PricedLayout, ...], Integers]:
    """Prices by distinct length, and the class of each unit."""
    base = price_layout(job, layout, schedule)
    if lengths is None:
        return (base,), np.zeros(schedule.micro_batches, dtype=np.int64)
    if len(lengths) != layout.micro_batches:
        raise PlannerError(
            f"found {len(lengths)} lengths for {layout.micro_batches} micro-batches; accepted: one length for each",
            field="lengths",
        )
    distinct, inverse = np.unique(np.array(lengths, dtype=np.int64), return_inverse=True)
    priced = tuple(with_length(base, schedule, int(length)) for length in distinct)
    return priced, np.repeat(inverse.ravel(), schedule.slices).astype(np.int64)


def _check_size(schedule: Schedule, actors: Actors) -> None:
    per_rank = np.bincount(actors.pipeline_rank, minlength=schedule.ranks)
    tasks = sum(6 * len(actions) * int(n) for actions, n in zip(schedule.actions, per_rank, strict=True))
    if tasks > MAX_TASKS:
        raise PlannerError(
            f"the step has about {tasks:,} tasks on {len(actors):,} devices that act differently; at most "
            f"{MAX_TASKS:,} are simulated: merge devices that act alike, or use fewer micro-batches",
            field="merge",
        )


def _plans(
    priced: Sequence[PricedLayout],
    rank: int,
    traffic: tuple[ReplicaTraffic, ...],
    host: HostTraffic,
    options: SimulationOptions,
    slices: int,
) -> list[RankPlan]:
    plans = []
    for one in priced:
        mine = [block for stage in one.ranks[rank].virtual_stages for block in one.stages[stage].blocks]
        plans.append(RankPlan(one, mine, traffic, host, options.detail, slices))
    return plans


class _GroupsOf:
    """The groups of a rank's actors by (axis, first, size) and stream, found once; ``every``: those of all ranks."""

    def __init__(self, stamp: Stamp, layout: Layout, actors: Actors, every: Members) -> None:
        self._stamp, self._layout, self._actors, self._every = stamp, layout, actors, every
        self._members: Members = {}
        self._groups: dict[tuple[tuple[str, int, int], str], AxisGroups] = {}

    def __call__(self, key: tuple[str, int, int], stream: str) -> AxisGroups:
        if (key, stream) not in self._groups:
            axis = key[0] if key[0] in EXPOSED_AXES else "offload"
            self._groups[key, stream] = self._stamp.groups(axis, stream, self._of(key))
        return self._groups[key, stream]

    def _of(self, key: tuple[str, int, int]) -> tuple[tuple[int, ...], ...]:
        if key not in self._members:
            axis, first, size = key
            if axis.startswith("offload"):
                found: tuple[tuple[int, ...], ...] = tuple((int(actor),) for actor in self._stamp.actors)
            else:
                if key not in self._every:
                    concrete = CONCRETE.get(axis, axis)
                    devices = device_groups(self._layout, concrete, first=first, size=size or None)
                    self._every[key] = self._actors.groups(devices)
                mine = set(self._stamp.actors.tolist())
                found = tuple(group for group in self._every[key] if group[0] in mine)
            self._members[key] = found
        return self._members[key]


def _hops(
    job: Job,
    layout: Layout,
    schedule: Schedule,
    options: SimulationOptions,
    builder: ProgramBuilder,
    network: NetworkLinks,
    actors: Actors,
    priced: Sequence[PricedLayout],
    length_of: Integers,
    lowered: Sequence[LoweredRank],
) -> None:
    if layout.pp == 1:
        return
    blocking = layout.schedule == "interleaved_1f1b" and blocks_hops(job)
    hidden = 0.0 if blocking else float(job.training.overlap.get("pp", job.framework.hidden.pp))
    columns = device_groups(layout, "pp")
    hops = HopLowering(builder, network, actors, job.cluster, columns, hidden, blocking, options.sharing)
    streams = np.array([[stage.stream_bytes for stage in one.stages] for one in priced]) / schedule.slices
    for message in messages(schedule):
        stage = schedule.model_stage[message.output_stage]
        hops.lower(message, lowered, streams[length_of[message.micro_batch], stage])


def _tied(
    stamps: Sequence[Stamp], actors: Actors, lowered: Sequence[LoweredRank], tied: Sequence[Moved]
) -> list[list[Item]]:
    """Sums of tied tables' gradients among the ranks that hold a copy; by rank, what its update waits for."""
    result: list[list[Item]] = [[] for _ in stamps]
    holders = [rank for rank, moved in enumerate(tied) if moved.seconds > 0.0]
    if len(holders) < 2:
        return result
    first = stamps[holders[0]]
    members = tuple(
        tuple(actors.along_pipeline(int(actor), rank) for rank in holders) for actor in first.actors
    )
    streams = np.array([first.builder.stream(group[0], "pp tied") for group in members], dtype=np.int64)
    groups = AxisGroups(members, np.arange(len(members)), streams, "pp")
    where = Where(np.zeros(1, dtype=np.int64), NONE, NONE)
    item = first.transfer(where, 0, groups, tied[holders[0]], What.TIED_REDUCE)
    for index, rank in enumerate(holders):
        place = {group[index]: number for number, group in enumerate(members)}
        column = np.array([place[int(actor)] for actor in stamps[rank].actors], dtype=np.int64)
        own = Item(item.ids, column)
        left = lowered[rank].leave
        last = left[np.flatnonzero(left[:, 0] != NONE)[-1]][None, :]
        stamps[rank].after(own, [Item(last, np.arange(last.shape[1]))])
        result[rank].append(own)
    return result
