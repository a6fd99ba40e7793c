"""Memory of a device over one step, by class, and its peak. Docs: docs/simulator.md.

A forward pass keeps its activations from its start; a backward pass needs its transients while it runs and frees the
activations at its end. A split backward pass frees all but a share at the end of the input gradient, the rest at the end
of the weight gradient. The head's logits live from the start of its forward pass to the end of the head's backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.jobs.prediction import MEMORY_CLASSES
from planner.simulator.analysis.columns import compute_actor
from planner.simulator.analysis.passes_run import PassesRun, passes_run
from planner.simulator.program import Execution, Floats, Integers, Program, What
from planner.simulator.schedules.schedule import NONE, Kind, Schedule

ACTIVATIONS, TRANSIENT, LOGITS = (MEMORY_CLASSES.index(c) for c in ("activations", "transient", "logits"))
START, HEAD_DONE, END = range(3)


@dataclass(frozen=True)
class StageFacts:
    """What one virtual stage needs beside its states, bytes on one device.

    Args:
        saved_bytes: activations kept from forward to backward, for one unit of the schedule (micro-batch or slice).
        moment_bytes: most that one layer's backward needs beside them.
        logits_bytes: alive from the head's forward to its backward, 0 without head.
        head_moment_bytes: what the head's backward needs beside them.
        kept_after_input_gradient: share of ``saved_bytes`` that waits for the weight gradient.
        head_share: part of the backward pass's time that the head takes.
    """

    saved_bytes: float
    moment_bytes: float = 0.0
    logits_bytes: float = 0.0
    head_moment_bytes: float = 0.0
    kept_after_input_gradient: float = 1.0
    head_share: float = 0.0

    @property
    def has_head(self) -> bool:
        return self.logits_bytes > 0 or self.head_moment_bytes > 0


@dataclass(frozen=True)
class RankFacts:
    """What a pipeline rank's device holds whatever it computes: class of ``MEMORY_CLASSES`` -> bytes.

    Args:
        during_passes, during_update: while it computes passes, and while it updates the weights.
    """

    during_passes: Mapping[str, float] = field(default_factory=dict)
    during_update: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MemoryTimeline:
    """Live bytes of one actor.

    Args:
        times: (points,), ascending; from times[i] on the bytes are those of column i.
        by_class: (classes, points), rows in the order of ``MEMORY_CLASSES``.
        peak: the point with most bytes; ``peak_at`` says what ran then.
    """

    actor: int
    times: Floats
    by_class: Floats
    peak: int
    peak_at: str

    @property
    def total(self) -> Floats:
        """(points,), all classes together."""
        return np.asarray(self.by_class.sum(axis=0))

    @property
    def peak_bytes(self) -> float:
        return float(self.by_class[:, self.peak].sum())

    @property
    def peak_time_s(self) -> float:
        return float(self.times[self.peak])

    def at_peak(self) -> dict[str, float]:
        """Class -> bytes at the peak; they add up to ``peak_bytes``."""
        return {name: float(self.by_class[i, self.peak]) for i, name in enumerate(MEMORY_CLASSES)}


def memory_timelines(
    program: Program,
    execution: Execution,
    schedule: Schedule,
    stages: Sequence[StageFacts],
    ranks: Sequence[RankFacts],
    rank_of: Sequence[int],
    actors: Sequence[int],
) -> tuple[MemoryTimeline, ...]:
    """Memory of some actors over the step.

    Args:
        stages: by virtual stage of the schedule.
        ranks: by pipeline rank.
        rank_of: pipeline rank of every actor.
        actors: whose memory is wanted.
    """
    passes = passes_run(program, execution, schedule)
    updates = _updates(program, execution)
    return tuple(
        memory_timeline(passes, stages, ranks[rank_of[actor]], actor, updates.get(actor)) for actor in actors
    )


def _updates(program: Program, execution: Execution) -> dict[int, tuple[float, float]]:
    """Actor -> from when to when it updates its weights."""
    tasks = program.tasks
    found: dict[int, tuple[float, float]] = {}
    for task in np.flatnonzero((compute_actor(program) != NONE) & (tasks.what == What.OPTIMIZER)).tolist():
        start, end = float(execution.start[task]), float(execution.end[task])
        known = found.get(int(tasks.actor[task]), (start, end))
        found[int(tasks.actor[task])] = (min(known[0], start), max(known[1], end))
    return found


@dataclass(frozen=True, eq=False)
class _Events:
    """Changes of memory in the order in which they happen; ``label`` is the pass, ``NONE`` the update."""

    time: Floats
    cls: Integers
    change: Floats
    label: Integers
    phase: Integers


def memory_timeline(
    passes: PassesRun,
    stages: Sequence[StageFacts],
    rank: RankFacts,
    actor: int,
    update: tuple[float, float] | None = None,
) -> MemoryTimeline:
    """Memory of one actor over the step.

    Args:
        passes: of all actors, as ``passes_run`` gives them.
        stages: by virtual stage of the schedule.
        rank: of the actor's pipeline rank.
        update: from when to when the actor updates its weights, None: it does not.
    """
    mine = passes.of(actor)
    events = _joined([_pass_events(mine, stages), _update_events(rank, update)])
    during = _vector(rank.during_passes)
    steps = np.zeros((len(MEMORY_CLASSES), len(events.time) + 1))
    steps[:, 0] = during
    steps[events.cls, np.arange(1, len(events.time) + 1)] = events.change
    by_class = np.cumsum(steps, axis=1)
    # Sums that cancel leave rounding, which must not show as memory below nothing.
    by_class[np.abs(by_class) < 1e-12 * np.abs(by_class).max(initial=1.0)] = 0.0
    times = np.concatenate([[0.0], events.time])
    total = by_class.sum(axis=0)
    # The first of equal peaks, whatever rounding says.
    peak = int(np.argmax(total >= total.max() * (1.0 - 1e-12)))
    return MemoryTimeline(actor, times, by_class, peak, _label(events, mine, stages, peak))


def _label(events: _Events, mine: PassesRun, stages: Sequence[StageFacts], peak: int) -> str:
    if peak == 0:
        return "start of the step"
    index = int(events.label[peak - 1])
    if index == NONE:
        return "optimizer step"
    name = mine.name(index)
    kind = int(mine.kind[index])
    heads = kind in (Kind.B, Kind.I) and stages[int(mine.stage[index])].has_head
    return f"{name}, at the head" if heads and events.phase[peak - 1] == START else name


def _vector(classes: Mapping[str, float]) -> Floats:
    return np.array([classes.get(name, 0.0) for name in MEMORY_CLASSES], dtype=np.float64)


def _joined(parts: Sequence[_Events]) -> _Events:
    columns = [(part.time, part.cls, part.change, part.label, part.phase) for part in parts]
    return _Events(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _pass_events(mine: PassesRun, stages: Sequence[StageFacts]) -> _Events:
    """Changes by an actor's passes, in their order: passes do not overlap, so the order is that of time."""
    halves = _halves(mine)
    rows: list[tuple[Integers, int, Floats, int, Floats]] = []
    column = {name: np.array([getattr(stage, name) for stage in stages]) for name in _COLUMNS}
    fused = (Kind.B, Kind.OVERLAP_F_B)
    for index, stage, kinds in halves:
        start, end = mine.start[index], mine.end[index]
        saved, moment = column["saved_bytes"][stage], column["moment_bytes"][stage]
        logits, at_head = column["logits_bytes"][stage], column["head_moment_bytes"][stage]
        mu = column["kept_after_input_gradient"][stage]
        head = (logits > 0) | (at_head > 0)
        if kinds == "forward":
            rows.append((index, START, start, ACTIVATIONS, saved))
            rows.append((index, START, start, LOGITS, logits))
            continue
        kind = mine.kind[index]
        whole = np.isin(kind, fused)
        freed = np.where(whole, 1.0, np.where(kind == Kind.I, 1.0 - mu, mu)) * saved
        runs = kind != Kind.W
        middle = start + column["head_share"][stage] * (end - start)
        first = np.where(head, at_head, moment) * runs
        rows.append((index, START, start, TRANSIENT, first))
        rows.append((index, HEAD_DONE, middle, LOGITS, -logits * runs))
        rows.append((index, HEAD_DONE, middle, TRANSIENT, moment * runs - first))
        rows.append((index, END, end, TRANSIENT, -moment * runs))
        rows.append((index, END, end, ACTIVATIONS, -freed))
    return _ordered(rows)


_COLUMNS = (
    "saved_bytes",
    "moment_bytes",
    "logits_bytes",
    "head_moment_bytes",
    "kept_after_input_gradient",
    "head_share",
)


def _halves(mine: PassesRun) -> list[tuple[Integers, Integers, str]]:
    """(passes, their stages, side) of the forward halves and of the backward halves."""
    forward = np.flatnonzero(np.isin(mine.kind, (Kind.F, Kind.OVERLAP_F_B)))
    backward = np.flatnonzero(mine.kind != Kind.F)
    fused = mine.kind[backward] == Kind.OVERLAP_F_B
    stage = np.where(fused, mine.stage2[backward], mine.stage[backward])
    return [(forward, mine.stage[forward], "forward"), (backward, stage, "backward")]


def _ordered(rows: Sequence[tuple[Integers, int, Floats, int, Floats]]) -> _Events:
    index = np.concatenate([row[0] for row in rows])
    phase = np.concatenate([np.full(len(row[0]), row[1]) for row in rows])
    time = np.concatenate([row[2] for row in rows])
    cls = np.concatenate([np.full(len(row[0]), row[3]) for row in rows])
    change = np.concatenate([row[4] for row in rows])
    turn = np.concatenate([np.full(len(row[0]), place) for place, row in enumerate(rows)])
    order = np.lexsort((turn, phase, index))
    order = order[change[order] != 0]
    return _Events(time[order], cls[order], change[order], index[order], phase[order])


def _update_events(rank: RankFacts, update: tuple[float, float] | None) -> _Events:
    """The classes change while the optimizer runs."""
    change = _vector(rank.during_update) - _vector(rank.during_passes)
    cls = np.flatnonzero(change) if update is not None else np.zeros(0, dtype=np.int64)
    # Releases first: nothing may count twice while classes are exchanged one by one.
    cls = cls[np.argsort(change[cls], kind="stable")]
    begin, end = update if update is not None else (0.0, 0.0)
    back = cls[::-1]
    return _Events(
        np.repeat([begin, end], len(cls)),
        np.concatenate([cls, back]),
        np.concatenate([change[cls], -change[back]]),
        np.full(2 * len(cls), NONE, dtype=np.int64),
        np.full(2 * len(cls), START, dtype=np.int64),
    )
