"""The actions of one pipeline rank as tasks: passes with their traffic, then the end of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.layouts.layouts import distinct_rows
from planner.simulator.links import host_route
from planner.simulator.lowering.passes import Moved
from planner.simulator.lowering.plan import Half, RankPlan, Segment, Side, fused
from planner.simulator.lowering.returns import Returns
from planner.simulator.lowering.stamp import SPAN, AxisGroups, Integers, Item, Stamp, Where
from planner.simulator.program import NONE, What
from planner.simulator.schedules.schedule import Actions, Kind

GroupsOf = Callable[[tuple[str, int, int], str], AxisGroups]
"""(axis, first, size), stream -> groups."""


def stream_of(groups: tuple[str, int, int], what: What, *, hidden: bool = True) -> str:
    """The stream of side traffic: every kind of group has its own.

    What follows a pass and nothing hides (``hidden`` False) overtakes what is still queued of earlier passes.
    """
    axis = groups[0] if groups[1] == 1 else f"{groups[0]} replicas"
    overtakes = not hidden and what in (What.REDUCE, What.OFFLOAD_OUT)
    if groups[0].startswith("offload"):
        return f"{axis} now" if overtakes else axis
    return axis if overtakes else f"{axis} {'gather' if what == What.GATHER else 'reduce'}"


@dataclass(frozen=True, eq=False)
class LoweredRank:
    """Where other ranks join.

    Args:
        entry, leave: (actions, actors), tasks that begin and end each action; ``NONE`` for actions that compute nothing.
        reductions: what the update waits for.
        tails: by groups, reductions' exposed part, after the last pass.
    """

    entry: Integers
    leave: Integers
    reductions: tuple[Item, ...]
    tails: Mapping[tuple[str, int, int], Moved]


@dataclass(eq=False)
class RankLowering:
    """Lowers the actions of one rank.

    Args:
        plans: by class of sequence length. lengths: (units,), the class of each micro-batch.
        groups_of: the groups of an axis or of a kind of side traffic.
    """

    stamp: Stamp
    plans: Sequence[RankPlan]
    lengths: Integers
    model_stage: Integers
    groups_of: GroupsOf
    _pending: list[tuple[tuple[str, int, int], Integers, Item]] = field(default_factory=list)
    _reductions: dict[object, tuple[int, Item]] = field(default_factory=dict)
    _returns: Returns = field(default_factory=Returns)
    _heads: dict[tuple[str, int, int], Moved] = field(default_factory=dict)
    _tails: dict[tuple[str, int, int], Moved] = field(default_factory=dict)

    def lower(self, actions: Actions) -> LoweredRank:
        """Tasks of all actions; see ``_launch`` for what runs ahead."""
        n = len(self.stamp.actors)
        entry = np.full((len(actions), n), NONE, dtype=np.int64)
        leave, trigger = entry.copy(), entry.copy()
        for rows, segments in self._alike(actions):
            where = Where(rows * SPAN, actions.stage[rows], actions.micro_batch[rows])
            entry[rows], leave[rows], trigger[rows] = self._stamp_pass(where, segments)
        self._launch(trigger)
        self._returns.tie(self.stamp.builder)
        self._begin(entry)
        return LoweredRank(entry, leave, tuple(item for _, item in self._reductions.values()), self._tails)

    def _begin(self, entry: Integers) -> None:
        """Gathers of the last update's weights that nothing hides, before the first action."""
        computing = np.flatnonzero(entry[:, 0] != NONE)
        where = Where(np.full(1, -SPAN), NONE, NONE)
        for offset, (key, moved) in enumerate(self._heads.items()):
            groups = self.groups_of(key, stream_of(key, What.GATHER))
            item = self.stamp.transfer(where, offset, groups, moved, What.GATHER)
            first = entry[computing[:1]]
            self.stamp.after(Item(first, np.arange(first.shape[1])), [item])

    def _launch(self, trigger: Integers) -> None:
        """What runs ahead of an action starts with the last segment of the one before that needs the like."""
        for key in {key for key, _, _ in self._pending}:
            mine = [(rows, item) for other, rows, item in self._pending if other == key]
            needing = np.unique(np.concatenate([rows for rows, _ in mine]))
            for rows, item in mine:
                place = np.searchsorted(needing, rows) - 1
                ids = np.where(place[:, None] >= 0, trigger[needing[np.maximum(place, 0)]], NONE)
                self.stamp.after(item, [Item(ids, np.arange(ids.shape[1]))])

    def _alike(self, actions: Actions) -> Iterable[tuple[Integers, tuple[Segment, ...]]]:
        """Rows of actions that do the same, with what they do."""
        computes = np.flatnonzero(actions.kind <= Kind.OVERLAP_F_B)
        if not len(computes):
            return
        kind, stage, second = (column[computes] for column in (actions.kind, actions.stage, actions.stage2))
        length = self.lengths[actions.micro_batch[computes]]
        length2 = np.where(second == NONE, 0, self.lengths[np.maximum(actions.micro_batch2[computes], 0)])
        forward = np.isin(kind, (Kind.F, Kind.OVERLAP_F_B))
        gradient_stage = np.where(kind == Kind.OVERLAP_F_B, second, stage)
        first = forward & _extreme(stage, forward, last=False)
        gives = ~np.isin(kind, (Kind.F, Kind.I))
        last = gives & _extreme(gradient_stage, gives, last=True)
        table = np.stack([kind, stage, second, length, length2, first, last]).astype(np.int64)
        example, inverse = distinct_rows(tuple(table), len(computes))
        for index, key in enumerate(table[:, example].T.tolist()):
            yield computes[inverse == index], self._segments(*key)

    def _segments(
        self, kind: int, stage: int, second: int, length: int, length2: int, first: int, last: int
    ) -> tuple[Segment, ...]:
        own = int(self.model_stage[stage])
        if kind != Kind.OVERLAP_F_B:
            return self.plans[length].segments(Half(Kind(kind), own, bool(first), bool(last)))
        forward = self.plans[length].segments(Half(Kind.F, own, bool(first), False))
        half = Half(Kind.B, int(self.model_stage[second]), False, bool(last))
        return fused(forward, self.plans[length2].segments(half))

    def _stamp_pass(self, where: Where, segments: Sequence[Segment]) -> tuple[Integers, Integers, Integers]:
        stamp = self.stamp
        gate = stamp.wait(where, 0)
        begun: list[Item] | None = None
        ahead: list[Item] = [gate]
        trigger, latest, offset = gate, gate, 1
        unfinished: list[Item] = []
        outgoing: list[Item] = []
        for segment in segments:
            needed, offset = self._before(where, offset, segment.before, ahead, begun)
            beside, offset = self._transfers(where, offset, segment.cost.hidden, ahead)
            compute = stamp.compute(where, offset, segment.cost.compute_s, segment.what)
            stamp.after(compute, [*needed, *unfinished, *outgoing[-2:-1]])
            begun, trigger, latest = ahead, latest, compute
            last, offset = self._exposed(where, offset + 1, segment, compute, outgoing)
            unfinished = [*beside, *last]
            ahead = [compute, *last]
            if segment.cost.host_s > 0.0:
                host = stamp.wait(where, offset, segment.cost.host_s)
                stamp.after(host, unfinished)
                unfinished, ahead, offset = [], [host], offset + 1
        end = stamp.wait(where, offset)
        stamp.after(end, unfinished)
        return gate.ids, end.ids, trigger.ids

    def _before(
        self,
        where: Where,
        offset: int,
        sides: Sequence[Side],
        ahead: list[Item],
        begun: list[Item] | None,
    ) -> tuple[list[Item], int]:
        """Traffic that a segment needs: the hidden part since the last segment began, the rest now, one after the other."""
        needed: list[Item] = []
        waited = ahead
        earlier: dict[str, Item] = {}
        for side in sides:
            if side.hidden.seconds > 0.0:
                item = self._side(where, offset, side, side.hidden, hidden=True)
                self._follow(earlier, side, item)
                if begun is not None and not side.once:
                    self.stamp.after(item, begun)
                elif not side.once:
                    self._pending.append((side.groups, where.position // SPAN, item))
                needed.append(item)
                offset += 1
            if side.once:
                self._heads[side.groups] = self._heads.get(side.groups, Moved()) + side.exposed
            elif side.exposed.seconds > 0.0:
                item = self._side(where, offset, side, side.exposed, hidden=False)
                self.stamp.after(item, waited)
                waited = [item]
                needed.append(item)
                offset += 1
        return needed, offset

    def _exposed(
        self, where: Where, offset: int, segment: Segment, compute: Item, outgoing: list[Item]
    ) -> tuple[list[Item], int]:
        """Traffic that the pass waits for after its computation, one axis after the other; and what it sets off.

        Args:
            outgoing: transfers to the host so far, which there are two buffers for; those of this segment are added.
        """
        waited = [compute]
        for axis, moved in segment.cost.exposed.items():
            item = self.stamp.transfer(
                where, offset, self.groups_of((axis, 1, 0), axis), moved, What.EXCHANGE
            )
            self.stamp.after(item, waited)
            waited, offset = [item], offset + 1
        earlier: dict[str, Item] = {}
        for side in segment.after:
            begun = [compute]
            if side.once:
                self._tails[side.groups] = self._tails.get(side.groups, Moved()) + side.exposed
            elif side.exposed.seconds > 0.0:
                item = self._side(where, offset, side, side.exposed, hidden=False)
                self.stamp.after(item, waited)
                begun = waited = [item]
                offset += 1
            if side.hidden.seconds > 0.0:
                item = self._side(where, offset, side, side.hidden, hidden=True)
                self.stamp.after(item, begun)
                self._follow(earlier, side, item)
                self._keep(where, offset, side, item)
                outgoing += [item] if side.what == What.OFFLOAD_OUT else []
                offset += 1
        return ([] if waited[0] is compute else waited), offset

    def _transfers(
        self, where: Where, offset: int, moved: Mapping[str, Moved], ahead: list[Item]
    ) -> tuple[list[Item], int]:
        """Traffic that runs beside a segment."""
        items = []
        for axis, part in moved.items():
            item = self.stamp.transfer(where, offset, self.groups_of((axis, 1, 0), axis), part, What.EXCHANGE)
            self.stamp.after(item, ahead)
            items.append(item)
            offset += 1
        return items, offset

    def _follow(self, earlier: dict[str, Item], side: Side, item: Item) -> None:
        """A block's collectives of one axis need each other: shards are summed over replicas once they are reduced."""
        axis = side.groups[0]
        if axis in earlier and not axis.startswith("offload"):
            self.stamp.after(item, [earlier[axis]])
        earlier[axis] = item

    def _side(self, where: Where, offset: int, side: Side, moved: Moved, *, hidden: bool) -> Item:
        groups = self.groups_of(side.groups, stream_of(side.groups, side.what, hidden=hidden))
        if not side.groups[0].startswith("offload"):
            return self.stamp.transfer(where, offset, groups, moved, side.what)
        nbytes = moved.nbytes[0] if self.stamp.sharing else 0.0
        routes = [
            host_route(
                self.stamp.network,
                self.stamp.builder,
                member[0],
                nbytes,
                outgoing=side.what == What.OFFLOAD_OUT,
            )
            for member in groups.members
        ]
        item = self.stamp.moved(where, offset, groups, moved, side.what, routes)
        if side.what == What.OFFLOAD_OUT:
            self._returns.out(where, side.block, item)
        elif side.returns:
            self._returns.back(where, side.block, item)
        return item

    def _keep(self, where: Where, offset: int, side: Side, item: Item) -> None:
        """Remember the last transfer of each stream: the update waits for it."""
        row = int(np.argmax(where.position))
        position = int(where.position[row]) + offset
        known = self._reductions.get(side.groups)
        if known is None or known[0] < position:
            self._reductions[side.groups] = (position, item.row(row))


def _extreme(stage: Integers, chosen: np.ndarray, *, last: bool) -> np.ndarray:
    """For each row whether it is the first (last) chosen one of its stage."""
    rows = np.flatnonzero(chosen)
    ordered = rows[::-1] if last else rows
    _, index = np.unique(stage[ordered], return_index=True)
    result = np.zeros(len(stage), dtype=np.bool_)
    result[ordered[index]] = True
    return result
