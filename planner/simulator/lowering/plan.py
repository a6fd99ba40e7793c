"""What one action of a schedule does on its rank: segments of computation, and the transfers before and after each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from planner.simulator.lowering.host import HostTraffic
from planner.simulator.lowering.passes import BlockCost, Moved, PassCost, PricedLayout, total
from planner.simulator.lowering.traffic import ReplicaTraffic, dealt, on
from planner.simulator.program import What
from planner.simulator.schedules.schedule import Kind

Detail = Literal["pass", "layer"]


@dataclass(frozen=True)
class Side:
    """Traffic beside the pass itself: of data-parallel axes, or to and from the host.

    Args:
        groups: which groups and stream run it: (name, first, size).
        what: GATHER, REDUCE, OFFLOAD_IN, OFFLOAD_OUT.
        block: of the stage, that it belongs to.
        hidden, exposed: the part that may overlap, and the part that the compute stream waits for.
        once: it happens once a step: a gather then begins with the step, its exposed part before anything else, and the
            exposed part of a reduction follows the last pass. Else a gather runs one segment ahead of the one that needs
            it, and the exposed part stands beside its segment.
        returns: it brings back what a forward pass has sent away.
    """

    groups: tuple[str, int, int]
    what: What
    hidden: Moved
    exposed: Moved
    block: int
    once: bool = False
    returns: bool = False


@dataclass(frozen=True)
class Segment:
    """Computation with what it waits for and what it sets off.

    Args:
        before: needed by it. after: possible once it is done.
    """

    what: What
    cost: PassCost
    before: tuple[Side, ...] = ()
    after: tuple[Side, ...] = ()


@dataclass(frozen=True)
class Half:
    """A pass of one stage: an action has one, a fused forward and backward two.

    Args:
        kind: F, B, I or W.
        first: the stage's first forward of the step; last: its last gradient.
    """

    kind: Kind
    stage: int
    first: bool
    last: bool


WHAT: Mapping[Kind, What] = {
    Kind.F: What.FORWARD,
    Kind.B: What.BACKWARD,
    Kind.I: What.INPUT_GRADIENT,
    Kind.W: What.WEIGHT_GRADIENT,
    Kind.OVERLAP_F_B: What.FORWARD_BACKWARD,
}

_COST: Mapping[Kind, Callable[[BlockCost], PassCost]] = {
    Kind.F: lambda block: block.forward,
    Kind.B: lambda block: block.backward,
    Kind.I: lambda block: block.input_gradient,
    Kind.W: lambda block: block.weight_gradient,
}

OVERLAPPED_AXES = ("ep", "etp")
"""A fused forward and backward hides one's expert traffic behind the other's computation (DeepSeek-V3, arXiv 2412.19437)."""


@dataclass(frozen=True)
class RankPlan:
    """Everything that the passes of one pipeline rank draw on.

    Args:
        priced: at the sequence length of the pass.
        blocks: by model stage. mine: all blocks that the rank stores.
        traffic: data-parallel collectives of the rank; host: its offload traffic.
        split: parts that each sequence is cut in (Seq1F1B).
    """

    priced: PricedLayout
    mine: Sequence[BlockCost]
    traffic: Sequence[ReplicaTraffic]
    host: HostTraffic
    detail: Detail = "pass"
    split: int = 1
    _cache: dict[object, tuple[Segment, ...]] = field(default_factory=dict, repr=False)

    def segments(self, half: Half) -> tuple[Segment, ...]:
        """The segments of a pass, in the order in which they run."""
        if half not in self._cache:
            self._cache[half] = self._segments(half)
        return self._cache[half]

    def _segments(self, half: Half) -> tuple[Segment, ...]:
        blocks = list(self.priced.stages[half.stage].blocks)
        before, after = self._sides(half, blocks)
        costs = [_COST[half.kind](block).share(1.0 / self.split) for block in blocks]
        order = range(len(blocks)) if half.kind == Kind.F else range(len(blocks) - 1, -1, -1)
        parts = [Segment(WHAT[half.kind], costs[i], tuple(before[i]), tuple(after[i])) for i in order]
        if self.detail == "layer" or any(part.before or part.after for part in parts):
            return tuple(parts)
        return (Segment(WHAT[half.kind], total(costs)),)

    def _sides(self, half: Half, blocks: Sequence[BlockCost]) -> tuple[list[list[Side]], list[list[Side]]]:
        """Traffic before and after each block: of data-parallel axes, and to and from the host."""
        before: list[list[Side]] = [[] for _ in blocks]
        after: list[list[Side]] = [[] for _ in blocks]
        for traffic, place in self._due(half):
            sides = before if place == "before" else after
            for index, moved in enumerate(dealt(traffic, self.mine, blocks)):
                if moved.seconds > 0.0:
                    sides[index].append(_side(traffic, moved, index))
        for index, block in enumerate(blocks):
            for loads, sides in ((True, before), (False, after)):
                side = self._host_side(half.kind, block, index, loads=loads)
                sides[index] += [side] if side is not None else []
        return before, after

    def _host_side(self, kind: Kind, block: BlockCost, index: int, *, loads: bool) -> Side | None:
        """What a pass of a block loads from the host (or sends there), None for nothing."""
        moved = (self.host.before if loads else self.host.after)(kind, block, self.split)
        if moved.seconds <= 0.0:
            return None
        name, what = ("offload in", What.OFFLOAD_IN) if loads else ("offload out", What.OFFLOAD_OUT)
        hidden, exposed = moved.share(self.host.hidden), moved.share(1.0 - self.host.hidden)
        returns = loads and kind in (Kind.B, Kind.I)
        return Side((name, 1, 1), what, hidden, exposed, index, returns=returns)

    def _due(self, half: Half) -> list[tuple[ReplicaTraffic, str]]:
        """Traffic of a pass, and where it belongs."""
        due: list[tuple[ReplicaTraffic, str]] = []
        if half.kind == Kind.F:
            if half.first:
                due += [(item, "before") for item in on(self.traffic, "step_gather")]
            due += [(item, "before") for item in on(self.traffic, "forward_gather")]
        if half.kind in (Kind.B, Kind.I):
            due += [(item, "before") for item in on(self.traffic, "backward_gather")]
        if half.kind in (Kind.B, Kind.W):
            due += [(item, "after") for item in on(self.traffic, "micro_reduce")]
            if half.last:
                due += [(item, "after") for item in on(self.traffic, "step_reduce")]
        return due


def fused(forward: Sequence[Segment], backward: Sequence[Segment]) -> tuple[Segment, ...]:
    """A forward and a backward that run interleaved, as one segment."""
    parts = [*forward, *backward]
    cost = total(part.cost for part in parts)
    exposed, hidden = dict(cost.exposed), dict(cost.hidden)
    for axis in OVERLAPPED_AXES:
        if axis in exposed:
            hidden[axis] = hidden.get(axis, Moved()) + exposed.pop(axis)
    merged = PassCost(cost.compute_s, cost.recompute_s, cost.host_s, hidden, exposed)
    before = tuple(side for part in parts for side in part.before)
    after = tuple(side for part in parts for side in part.after)
    return (Segment(What.FORWARD_BACKWARD, merged, before, after),)


def _side(traffic: ReplicaTraffic, moved: Moved, block: int) -> Side:
    what = What.REDUCE if traffic.occasion.endswith("reduce") else What.GATHER
    copies_s = traffic.copies_s * moved.seconds / traffic.moved.seconds
    return Side(
        (traffic.axis, traffic.first, traffic.size),
        what,
        moved.share(traffic.hidden),
        moved.share(1.0 - traffic.hidden) + Moved(copies_s, copies_s),
        block,
        traffic.occasion.startswith("step"),
    )
