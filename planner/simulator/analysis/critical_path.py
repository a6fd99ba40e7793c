"""The chain of tasks that the step's end waits for, and what it consists of in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.analysis.columns import axis_of, last_task, successors
from planner.simulator.engine.order import previous_on_stream
from planner.simulator.program import NONE, Execution, Integers, Program, TaskKind, What
from planner.simulator.schedules.schedule import Schedule

TOP = 10

SMALL = 0.01
"""Causes below this share of the step are listed together with others of their kind."""

OTHER = "other"
"""In the name of a kind; becomes "all" where none of the kind is listed by itself."""

PASSES = (
    What.FORWARD,
    What.BACKWARD,
    What.INPUT_GRADIENT,
    What.WEIGHT_GRADIENT,
    What.FORWARD_BACKWARD,
)


@dataclass(frozen=True)
class PathShare:
    """One cause along the critical path: seconds, share of the step, and the kind that small causes are summed under."""

    cause: str
    seconds: float
    share: float
    kind: str = ""

    @property
    def words(self) -> str:
        """For people: "41 % compute of stage 3"."""
        amount = f"{100 * self.share:.0f} %" if self.share >= 0.005 else "< 1 %"
        return f"{amount} {self.cause}"


@dataclass(frozen=True)
class CriticalPath:
    """What the end of the step waits for.

    Args:
        tasks: along the path, first to last.
        shares: by cause, largest first; they add up to the step.
        stretched_s: of it, what tasks took longer than alone (shared links, slowed computation).
    """

    tasks: tuple[int, ...]
    shares: tuple[PathShare, ...]
    stretched_s: float

    def top(self, count: int = TOP) -> tuple[PathShare, ...]:
        """The largest causes one by one, the others by kind: at most ``count`` and "the rest", which add up to the step."""
        large = sum(item.share >= SMALL for item in self.shares)
        single = next(
            (n for n in range(min(count, large), -1, -1) if n + len(_kinds(self.shares[n:])) <= count), 0
        )
        named = {item.kind for item in self.shares[:single]}
        together = [
            _sum(kind if kind in named else kind.replace(OTHER, "all", 1), items)
            if len(items) > 1
            else items[0]
            for kind, items in _kinds(self.shares[single:]).items()
        ]
        ordered = sorted([*self.shares[:single], *together], key=lambda item: (-item.seconds, item.cause))
        if len(ordered) <= count + 1:
            return tuple(ordered)
        rest = ordered[count:]
        return (*ordered[:count], _sum(f"the rest ({len(rest)} causes)", rest))


def _kinds(shares: Sequence[PathShare]) -> dict[str, list[PathShare]]:
    kinds: dict[str, list[PathShare]] = {}
    for item in shares:
        kinds.setdefault(item.kind or item.cause, []).append(item)
    return kinds


def _sum(cause: str, items: Sequence[PathShare]) -> PathShare:
    return PathShare(cause, sum(item.seconds for item in items), sum(item.share for item in items))


def critical_path(
    program: Program,
    execution: Execution,
    schedule: Schedule | None = None,
    rank_of: Sequence[int] | None = None,
    devices: Sequence[int] | None = None,
) -> CriticalPath:
    """Walks back from the task that ends last: each task waited for the predecessor that ended last.

    Args:
        schedule: tells where hops lead; without it they are named by their sender.
        rank_of: pipeline rank of every actor, for names; default the actor's own number.
        devices: of every actor; named where several actors share a pipeline rank.
    """
    path = _walk(program, execution)
    tasks = program.tasks
    names = _Names.of(program, schedule, rank_of, devices)
    seconds: dict[tuple[str, str], float] = {}
    before = 0.0
    stretched = 0.0
    for task in path:
        start, end = float(execution.start[task]), float(execution.end[task])
        if start > before:
            seconds["idle", "idle"] = seconds.get(("idle", "idle"), 0.0) + start - before
        cause = names.cause(task), names.kind(task)
        seconds[cause] = seconds.get(cause, 0.0) + end - max(start, before)
        stretched += max(end - start - float(tasks.seconds[task]) - float(tasks.latency_s[task]), 0.0)
        before = end
    total = before
    ordered = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    shares = tuple(
        PathShare(cause, value, value / total if total else 0.0, kind)
        for (cause, kind), value in ordered
        if value > 0
    )
    return CriticalPath(tuple(path), shares, stretched)


def _walk(program: Program, execution: Execution) -> list[int]:
    if not len(program.tasks):
        return []
    previous = previous_on_stream(program)
    end, before, first = execution.end, program.before, program.before_start
    actor = program.tasks.actor
    task = last_task(program, execution)
    path = []
    while task != NONE:
        path.append(task)
        candidates = before[first[task] : first[task + 1]].tolist()
        if previous[task] != NONE:
            candidates.append(int(previous[task]))
        # Of equally late ones the actor's own: work names the cause better than a wait beside it.
        task = max(candidates, key=lambda one: (end[one], actor[one] == actor[task], -one), default=NONE)
    return path[::-1]


@dataclass(frozen=True, eq=False)
class _Names:
    """Causes in words. Where ranks hold several stages each, ranks are named instead of stages."""

    program: Program
    schedule: Schedule | None
    rank_of: Sequence[int] | None
    devices: Sequence[int] | None
    axis: Integers
    first: Integers
    later: Integers

    @staticmethod
    def of(
        program: Program,
        schedule: Schedule | None,
        rank_of: Sequence[int] | None,
        devices: Sequence[int] | None,
    ) -> _Names:
        alone = rank_of is None or len(set(rank_of)) == len(rank_of)
        shown = None if alone else devices
        return _Names(program, schedule, rank_of, shown, axis_of(program.tasks), *successors(program))

    def cause(self, task: int) -> str:
        tasks = self.program.tasks
        what, stage, axis = What(int(tasks.what[task])), int(tasks.stage[task]), int(self.axis[task])
        where = self._stage(stage) if stage != NONE else self._rank(task)
        if int(tasks.kind[task]) == TaskKind.COMPUTE and what in PASSES:
            return f"compute of {where}{self._device(task)}"
        if what == What.HOP:
            return self._hop(task, stage)
        label = EXPOSED_AXES[axis] if axis != NONE else ""
        return {
            What.OPTIMIZER: f"optimizer of {self._rank(task)}{self._device(task)}",
            What.HOST: f"host (kernel launches) of {where}{self._device(task)}",
            What.EXCHANGE: f"waits for {label} collectives of {where}",
            What.GATHER: f"parameter gather ({label})",
            What.REDUCE: f"gradient reduction ({label})",
            What.TIED_REDUCE: "gradient sum of the tied embedding (pp)",
            What.OFFLOAD_OUT: f"offload from the device of {self._rank(task)}",
            What.OFFLOAD_IN: f"fetch from the host to {self._rank(task)}",
        }.get(what, what.name.lower())

    def kind(self, task: int) -> str:
        """What small causes of the kind are called together."""
        tasks = self.program.tasks
        what, axis = What(int(tasks.what[task])), int(self.axis[task])
        others = (
            f"{OTHER} pipeline ranks" if self._by_rank or tasks.stage[task] == NONE else f"{OTHER} stages"
        )
        if self.devices is not None:
            others += " and devices"
        if int(tasks.kind[task]) == TaskKind.COMPUTE and what in PASSES:
            return f"compute of {others}"
        return {
            What.OPTIMIZER: f"optimizer of {others}",
            What.HOST: f"host (kernel launches) of {others}",
            What.EXCHANGE: f"waits for {EXPOSED_AXES[axis]} collectives of {others}",
            What.HOP: f"waits for {OTHER} pipeline hops",
        }.get(what, self.cause(task))

    def _rank(self, task: int) -> str:
        actor = int(self.program.tasks.actor[task])
        return f"pipeline rank {actor if self.rank_of is None else self.rank_of[actor]}"

    def _device(self, task: int) -> str:
        actor = int(self.program.tasks.actor[task])
        return "" if self.devices is None else f" on device {self.devices[actor]}"

    @property
    def _by_rank(self) -> bool:
        return self.schedule is not None and self.schedule.stages > self.schedule.ranks

    def _stage(self, stage: int) -> str:
        if self.schedule is not None and self._by_rank:
            return f"pipeline rank {self.schedule.rank_of[stage]}"
        return f"stage {stage}"

    def _hop(self, task: int, stage: int) -> str:
        entries = self.later[self.first[task] : self.first[task + 1]]
        targets = set(self.program.tasks.stage[entries].tolist()) - {NONE, stage}
        if self.schedule is not None and stage != NONE:
            ahead, back = int(self.schedule.following[stage]), int(self.schedule.previous[stage])
            targets = {ahead if ahead in targets else back}
        if len(targets) != 1:
            return f"waits for pipeline hops of {self._stage(stage)}"
        target = targets.pop()
        if self.schedule is not None and self._by_rank:
            ranks = self.schedule.rank_of
            return f"waits for the pipeline hop rank {ranks[stage]} -> {ranks[target]}"
        return f"waits for the pipeline hop stage {stage} -> {target}"
