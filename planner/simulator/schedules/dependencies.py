"""Which action of a schedule needs the result of which other one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.schedule import NONE, Integers, Kind, Schedule

MAX_ACTIONS = 10**8
"""More would not fit into the memory of an ordinary machine."""


@dataclass(frozen=True, eq=False)
class FlatActions:
    """The actions of all ranks, one rank after the other; columns of equal length.

    Args:
        rank: who runs it.
        position: its place among the rank's actions, from 0.
        kind, stage, micro_batch, stage2, micro_batch2: as in ``Actions``.
    """

    rank: Integers
    position: Integers
    kind: Integers
    stage: Integers
    micro_batch: Integers
    stage2: Integers
    micro_batch2: Integers

    def __len__(self) -> int:
        return len(self.kind)

    def name(self, action: int) -> str:
        """An action in words: "F of stage 3, micro-batch 7"."""
        kind = Kind(int(self.kind[action]))
        text = f"{kind.name} of stage {self.stage[action]}"
        if kind < Kind.UNSHARD:
            text += f", micro-batch {self.micro_batch[action]}"
        if kind == Kind.OVERLAP_F_B:
            text += f" with stage {self.stage2[action]}, micro-batch {self.micro_batch2[action]}"
        return text

    def place(self, action: int) -> str:
        """Where an action stands: "rank 2, column 5"."""
        return f"rank {self.rank[action]}, column {self.position[action]}"


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of indices into the flat actions.

    Args:
        later, earlier: ``later`` starts when ``earlier`` has ended.
        hop: whether what passes between them crosses ranks.
    """

    later: Integers
    earlier: Integers
    hop: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def __len__(self) -> int:
        return len(self.later)


def flatten(schedule: Schedule) -> FlatActions:
    """The actions of all ranks in one table.

    Raises:
        PlannerError: too many actions, or one whose stage or micro-batch does not exist or whose stage lies elsewhere.
    """
    lengths = [len(actions) for actions in schedule.actions]
    if sum(lengths) > MAX_ACTIONS:
        raise PlannerError(
            f"the schedule has {sum(lengths):,} actions; at most {MAX_ACTIONS:,} are simulated",
            field="schedule",
        )
    columns = ("kind", "stage", "micro_batch", "stage2", "micro_batch2")
    flat = FlatActions(
        np.repeat(np.arange(len(lengths), dtype=np.int64), lengths),
        np.concatenate([np.arange(length, dtype=np.int64) for length in lengths] or [np.zeros(0, np.int64)]),
        *(
            np.concatenate(
                [getattr(actions, column) for actions in schedule.actions] or [np.zeros(0, np.int64)]
            )
            for column in columns
        ),
    )
    _check_places(schedule, flat)
    return flat


def dependencies(schedule: Schedule, flat: FlatActions | None = None) -> Edges:
    """Which action needs the result of which other one.

    F needs the previous stage's F; B and I need their own F and the following stage's B or I; W needs its I; both halves
    of an OVERLAP_F_B need their inputs. Where the schedule receives and sends explicitly, the data goes through those
    actions. UNSHARD, RESHARD and REDUCE_GRAD need nothing: only their order on the rank counts.

    Args:
        flat: ``flatten(schedule)`` when it is at hand.

    Raises:
        PlannerError: an input that no action produces, or a result that two produce.
    """
    flat = flatten(schedule) if flat is None else flat
    passes = _Passes(schedule, flat)
    forward, backward = passes.forward, passes.backward
    pairs = [
        passes.carried(forward, schedule.previous, Kind.SEND_F, Kind.RECV_F),
        passes.carried(backward, schedule.following, Kind.SEND_B, Kind.RECV_B),
        passes.own(backward, forward, "F"),
        passes.own(passes.halves(Kind.W), passes.halves(Kind.I), "I"),
    ]
    later = np.concatenate([pair[0] for pair in pairs])
    earlier = np.concatenate([pair[1] for pair in pairs])
    return Edges(later, earlier, flat.rank[later] != flat.rank[earlier])


@dataclass(frozen=True, eq=False)
class _Halves:
    """Actions with the (stage, micro-batch) that each of them is for, and the reverse map."""

    action: Integers
    stage: Integers
    micro_batch: Integers
    producer: Integers


class _Passes:
    """Forward and backward parts of the actions."""

    def __init__(self, schedule: Schedule, flat: FlatActions) -> None:
        self._flat = flat
        self._stages = schedule.stages
        self._units = schedule.micro_batches
        self._explicit = bool(((flat.kind >= Kind.SEND_F) & (flat.kind <= Kind.RECV_B)).any())
        self.forward = self.halves(Kind.F, Kind.OVERLAP_F_B)
        self.backward = self.halves(Kind.B, Kind.I, second=True)

    def halves(self, *kinds: Kind, second: bool = False) -> _Halves:
        """The actions of these kinds; ``second`` adds the backward halves of OVERLAP_F_B."""
        flat = self._flat
        chosen = flat.kind == kinds[0]
        for kind in kinds[1:]:
            chosen |= flat.kind == kind
        action = np.flatnonzero(chosen)
        stage, micro_batch = flat.stage[action], flat.micro_batch[action]
        fused = np.flatnonzero(flat.kind == Kind.OVERLAP_F_B) if second else action[:0]
        if len(fused):
            action = np.concatenate([action, fused])
            stage = np.concatenate([stage, flat.stage2[fused]])
            micro_batch = np.concatenate([micro_batch, flat.micro_batch2[fused]])
        producer = np.full(self._stages * self._units, NONE, dtype=np.int64)
        code = stage * self._units + micro_batch
        producer[code] = action
        twice = np.flatnonzero(producer[code] != action)
        if len(twice):
            first, again = int(action[twice[0]]), int(producer[code[twice[0]]])
            raise PlannerError(
                f"{flat.place(again)}: {flat.name(again)} repeats {flat.name(first)} at {flat.place(first)}",
                field="schedule",
            )
        return _Halves(action, stage, micro_batch, producer)

    def own(self, needing: _Halves, producing: _Halves, what: str) -> tuple[Integers, Integers]:
        """Each needs the result of the same stage and micro-batch."""
        return self._link(needing.action, needing.stage, needing.micro_batch, producing.producer, what)

    def carried(
        self, passes: _Halves, source: Integers, send: Kind, receive: Kind
    ) -> tuple[Integers, Integers]:
        """Each needs the result of the neighbouring stage ``source[stage]``, through send and receive where they stand."""
        what = "F" if send == Kind.SEND_F else "B or I"
        stage = source[passes.stage]
        has = np.flatnonzero(stage != NONE)
        action, stage, unit = passes.action[has], stage[has], passes.micro_batch[has]
        if not self._explicit:
            return self._link(action, stage, unit, passes.producer, what)
        sends, receives = self.halves(send), self.halves(receive)
        through = receives.producer[passes.stage[has] * self._units + unit]
        got = through != NONE
        pairs = [
            self._link(action[~got], stage[~got], unit[~got], passes.producer, what),
            (action[got], through[got]),
            self._link(
                receives.action, source[receives.stage], receives.micro_batch, sends.producer, send.name
            ),
            self._link(sends.action, sends.stage, sends.micro_batch, passes.producer, what),
        ]
        return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])

    def _link(
        self, action: Integers, stage: Integers, unit: Integers, producer: Integers, what: str
    ) -> tuple[Integers, Integers]:
        earlier = producer[stage * self._units + unit]
        missing = np.flatnonzero((earlier == NONE) | (stage == NONE))
        if len(missing):
            at, flat = int(missing[0]), self._flat
            needing = int(action[at])
            wanted = "has no neighbouring stage"
            if stage[at] != NONE:
                wanted = f"needs {what} of stage {stage[at]}, micro-batch {unit[at]}, which no rank runs"
            raise PlannerError(f"{flat.place(needing)}: {flat.name(needing)} {wanted}", field="schedule")
        return action, earlier


def _check_places(schedule: Schedule, flat: FlatActions) -> None:
    fused = flat.kind == Kind.OVERLAP_F_B
    numbered = flat.kind < Kind.UNSHARD
    units = schedule.micro_batches
    any_fused = bool(fused.any())
    for stage, unit, rows in (
        (flat.stage, flat.micro_batch, np.ones_like(fused)),
        (flat.stage2, flat.micro_batch2, fused),
    ):
        if rows is fused and not any_fused:
            continue
        known = (stage >= 0) & (stage < schedule.stages)
        here = known & (schedule.rank_of[np.where(known, stage, 0)] == flat.rank)
        whole = (unit >= 0) & (unit < units) | ~numbered
        wrong = np.flatnonzero(rows & ~(here & whole))
        if len(wrong):
            at = int(wrong[0])
            raise PlannerError(
                f"{flat.place(at)}: {flat.name(at)} {_misplaced(schedule, int(stage[at]), bool(here[at]))}",
                field="schedule",
            )


def _misplaced(schedule: Schedule, stage: int, here: bool) -> str:
    if here:
        return f"has no such micro-batch; the schedule has 0 to {schedule.micro_batches - 1}"
    if 0 <= stage < schedule.stages:
        return f"is not this rank's; stage {stage} lies on rank {schedule.rank_of[stage]}"
    return f"has no such stage; the schedule has 0 to {schedule.stages - 1}"
