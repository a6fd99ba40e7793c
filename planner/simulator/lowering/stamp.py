"""Tasks stamped for many actions and many actors at once, and the edges between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.links import NetworkLinks, collective_route
from planner.simulator.lowering.passes import Moved
from planner.simulator.program import ProgramBuilder, TaskKind, What

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SPAN = 1 << 20
"""Positions set aside for the tasks of one action."""


@dataclass(frozen=True, eq=False)
class Item:
    """One place in a rank's action list, for all its actors.

    Args:
        ids: (occurrences, groups) of tasks; a computation has one group per actor.
        column: (actors of the rank,), the group of each actor.
    """

    ids: Integers
    column: Integers

    def row(self, occurrence: int) -> Item:
        """One occurrence of it."""
        return Item(self.ids[[occurrence]], self.column)


@dataclass(frozen=True, eq=False)
class AxisGroups:
    """The groups of one axis among the actors of a pipeline rank.

    Args:
        members: (groups,) actors of each.
        column: (actors of the rank,), the group of each actor.
        streams: (groups,), the stream of each.
        axis: name under which time is reported.
    """

    members: tuple[tuple[int, ...], ...]
    column: Integers
    streams: Integers
    axis: str


@dataclass(frozen=True, eq=False)
class Where:
    """The occurrences that are stamped together.

    Args:
        position: (occurrences,), first position of each action on its streams.
        stage, micro_batch: (occurrences,) or scalars.
    """

    position: Integers
    stage: Integers | int
    micro_batch: Integers | int


@dataclass(eq=False)
class Stamp:
    """Appends tasks of one pipeline rank to a builder.

    Args:
        actors: (n,) of the rank; speed: (n,) multiples of the nominal speed.
        sharing: whether transfers load links.
        scale: (actions of the rank, n) or None: what jitter multiplies computation with, by action.
    """

    builder: ProgramBuilder
    network: NetworkLinks
    actors: Integers
    speed: Floats
    sharing: bool
    scale: Floats | None = None
    _routes: dict[tuple[tuple[int, ...], tuple[float, ...]], int] = field(default_factory=dict)

    def groups(self, axis: str, stream: str, members: Iterable[tuple[int, ...]]) -> AxisGroups:
        """The groups of an axis with a stream each, named after it at the group's first actor."""
        mine = tuple(members)
        place = {int(actor): index for index, actor in enumerate(self.actors)}
        column = np.zeros(len(self.actors), dtype=np.int64)
        for index, group in enumerate(mine):
            column[[place[actor] for actor in group]] = index
        streams = [self.builder.stream(group[0], stream) for group in mine]
        return AxisGroups(mine, column, np.array(streams, dtype=np.int64), axis)

    def compute(self, where: Where, offset: int, seconds: float, what: What) -> Item:
        """Computation on every actor."""
        durations = np.broadcast_to(seconds / self.speed, (len(where.position), len(self.actors)))
        if self.scale is not None:
            durations = durations * self.scale[where.position // SPAN]
        return self._on_compute(where, offset, durations, what, TaskKind.COMPUTE)

    def wait(self, where: Where, offset: int, seconds: float = 0.0) -> Item:
        """A fixed wait on every actor's compute stream; of 0 s it only joins what it waits for."""
        durations = np.full((len(where.position), len(self.actors)), seconds)
        return self._on_compute(where, offset, durations, What.HOST, TaskKind.WAIT)

    @cached_property
    def _computing(self) -> Integers:
        """(n,) the compute stream of each actor."""
        streams = [self.builder.stream(int(actor), "compute") for actor in self.actors]
        return np.array(streams, dtype=np.int64)

    def _on_compute(self, where: Where, offset: int, seconds: Floats, what: What, kind: TaskKind) -> Item:
        occurrences, n = seconds.shape
        ids = self.builder.add(
            occurrences * n,
            kind=kind,
            stream=np.tile(self._computing, occurrences),
            position=np.repeat(where.position + offset, n),
            seconds=seconds.ravel(),
            what=what,
            actor=np.tile(self.actors, occurrences),
            stage=_repeated(where.stage, occurrences, n),
            micro_batch=_repeated(where.micro_batch, occurrences, n),
        )
        return Item(ids.reshape(occurrences, n), np.arange(n))

    def transfer(self, where: Where, offset: int, groups: AxisGroups, moved: Moved, what: What) -> Item:
        """One transfer in every group."""
        routes = [self._route(members, moved.nbytes) for members in groups.members]
        return self.moved(where, offset, groups, moved, what, routes)

    def moved(
        self, where: Where, offset: int, groups: AxisGroups, moved: Moved, what: What, routes: list[int]
    ) -> Item:
        """The same with given routes."""
        occurrences, n = len(where.position), len(groups.members)
        first = np.array([members[0] for members in groups.members], dtype=np.int64)
        ids = self.builder.add(
            occurrences * n,
            kind=TaskKind.TRANSFER,
            stream=np.tile(groups.streams, occurrences),
            position=np.repeat(where.position + offset, n),
            seconds=max(moved.seconds - moved.latency_s, 0.0),
            latency_s=min(moved.latency_s, moved.seconds),
            route=np.tile(np.array(routes, dtype=np.int64), occurrences),
            what=what,
            axis=EXPOSED_AXES.index(groups.axis),
            actor=np.tile(first, occurrences),
            stage=_repeated(where.stage, occurrences, n),
            micro_batch=_repeated(where.micro_batch, occurrences, n),
        )
        return Item(ids.reshape(occurrences, n), groups.column)

    def after(self, later: Item, earlier: Iterable[Item]) -> None:
        """Let ``later`` wait for ``earlier``, occurrence by occurrence, in every group for all its members."""
        for item in earlier:
            # A set is faster than numpy's unique for the few members of a rank that differ.
            pairs = sorted(set(zip(later.column.tolist(), item.column.tolist(), strict=True)))
            mine, others = zip(*pairs, strict=True)
            self.builder.after(later.ids[:, list(mine)], item.ids[:, list(others)])

    def _route(self, members: tuple[int, ...], nbytes: tuple[float, ...]) -> int:
        key = (members, nbytes)
        if key not in self._routes:
            loads = nbytes if self.sharing else ()
            self._routes[key] = collective_route(self.network, self.builder, members, loads)
        return self._routes[key]


def _repeated(values: Integers | int, occurrences: int, n: int) -> Integers:
    given = np.asarray(values, dtype=np.int64)
    if given.ndim == 0:
        return np.full(occurrences * n, given)
    return given if n == 1 else np.repeat(given, n)
