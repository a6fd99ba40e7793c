"""The choice of shardings as a linear programme.

Alpa's formulation (arXiv 2201.12023, section 4.2) with three changes: equations instead of inequalities between an edge and
its ends, which tightens the relaxation; values instead of edges, so that consumers with the same use share a transition;
and memory as a constraint in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.solvers.linear import Builder, Programme
from planner.solvers.sharding.placement import Code, Floats, Ints
from planner.solvers.sharding.problem import Problem, Wire

GB = 1e9


@dataclass(frozen=True, eq=False)
class _WireColumns:
    """Variables of one wire.

    Args:
        flows: per consumer, (sources, classes): 1 from where the value lies to where the consumer uses it.
        paid: (sources, classes): transitions that are paid; the only flow itself where there is one consumer.
        kept: placement -> 1 where the value is kept for backward.
    """

    wire: Wire
    flows: tuple[Ints, ...]
    paid: Ints
    kept: Mapping[Code, int]


@dataclass(frozen=True, eq=False)
class Modelled:
    """A programme and where it keeps the choices.

    Args:
        nodes: per node, the columns of its alternatives.
        wires: the other columns.
        unit_s: seconds per unit of the objective.
    """

    programme: Programme
    nodes: tuple[Ints, ...]
    wires: tuple[_WireColumns, ...]
    unit_s: float

    def choice(self, values: Floats) -> tuple[int, ...]:
        """The alternative of every node."""
        return tuple(int(np.argmax(values[columns])) for columns in self.nodes)

    def values(self, choice: Sequence[int]) -> Floats:
        """A choice as values of all variables."""
        values = np.zeros(self.programme.columns)
        for columns, at in zip(self.nodes, choice, strict=True):
            values[columns[at]] = 1.0
        for item in self.wires:
            row = item.wire.placed[choice[item.wire.producer]]
            for use, flow in zip(item.wire.uses, item.flows, strict=True):
                at = use.classes[choice[use.node]]
                values[flow[row, at]] = values[item.paid[row, at]] = 1.0
            for code in item.wire.saved(choice):
                if code in item.kept:
                    values[item.kept[code]] = 1.0
        return values


def model(
    problem: Problem,
    unit_s: float,
    *,
    memory_bytes: float | None = None,
    pinned: Mapping[int, int] | None = None,
) -> Modelled:
    """The programme of a problem.

    Args:
        unit_s: the size of one unit of the objective, so that coefficients lie near 1.
        memory_bytes: a rank may hold no more; None for no limit.
        pinned: node -> alternative that it must take.
    """
    builder = Builder()
    columns = tuple(
        _alternatives(builder, number, node.seconds / unit_s, (pinned or {}).get(number))
        for number, node in enumerate(problem.nodes)
    )
    wires = tuple(
        _wire(builder, number, wire, columns, unit_s, saves=memory_bytes is not None and problem.training)
        for number, wire in enumerate(problem.wires)
    )
    if memory_bytes is not None:
        _memory(builder, problem, columns, wires, memory_bytes)
    return Modelled(builder.programme(), columns, wires, unit_s)


def _alternatives(builder: Builder, number: int, cost: Floats, pinned: int | None) -> Ints:
    """One 0/1 variable per alternative of a node, of which one is taken."""
    upper = np.ones(len(cost))
    if pinned is not None:
        upper[np.arange(len(cost)) != pinned] = 0.0
    columns = builder.variables(f"s{number}", len(cost), upper=upper, cost=cost, integer=True)
    builder.add(
        "choice", (columns[None], 1.0), equal=1.0, meaning="one sharding per operator", definition=True
    )
    return columns


def _wire(
    builder: Builder, number: int, wire: Wire, columns: Sequence[Ints], unit_s: float, *, saves: bool
) -> _WireColumns:
    """One unit flows from where the value is made to where each consumer uses it; equal flows are paid once."""
    passable = np.isfinite(wire.seconds)
    cost = np.where(passable, wire.seconds, 0.0) / unit_s
    shared = len(wire.uses) > 1
    flows = []
    for place, use in enumerate(wire.uses):
        reached = passable & np.isin(np.arange(cost.shape[1]), use.classes)
        flow = builder.variables(
            f"e{number}_{place}", cost.shape, upper=reached.astype(float), cost=0.0 if shared else cost
        )
        _meets(builder, flow, columns[wire.producer], wire.placed)
        _meets(builder, flow.T, columns[use.node], use.classes)
        flows.append(flow)
    paid = flows[0]
    if shared:
        paid = builder.variables(f"y{number}", cost.shape, upper=passable.astype(float), cost=cost)
        for flow in flows:
            terms = (paid.reshape(-1, 1), 1.0), (flow.reshape(-1, 1), -1.0)
            builder.add("shared", *terms, lower=0.0, definition=True)
    kept = _kept(builder, number, wire, columns) if saves else {}
    return _WireColumns(wire, tuple(flows), paid, kept)


def _meets(builder: Builder, flow: Ints, alternatives: Ints, group: Ints) -> None:
    """Each row of a flow is as large as the chosen alternatives of its group."""
    for row in range(len(flow)):
        members = alternatives[group == row]
        terms = [(flow[row][None], 1.0)]
        if len(members):
            terms.append((members[None], -1.0))
        builder.add("flow", *terms, equal=0.0, definition=True)


def _kept(builder: Builder, number: int, wire: Wire, columns: Sequence[Ints]) -> dict[Code, int]:
    """A variable that is 1 for every placement in which the value is kept for backward."""
    made = [wire.sources[at] for at in wire.placed]
    savers = [
        (columns[use.node], [wire.classes[at][0] for at in use.classes]) for use in wire.uses if use.saved
    ]
    if wire.saved_by_producer:
        savers.append((columns[wire.producer], made))
    codes = list(dict.fromkeys(code for _, found in savers for code in found))
    if not codes:
        return {}
    kept = builder.variables(f"m{number}", len(codes), upper=1.0)
    for row, code in enumerate(codes):
        for alternatives, found in savers:
            terms = [(kept[row : row + 1], 1.0), (_with(alternatives, found, code), -1.0)]
            if wire.stored:  # the stored tensor itself is counted with the parameters
                terms.append((_with(columns[wire.producer], made, code), 1.0))
            builder.add("saved", *(term for term in terms if term[0].size), lower=0.0, definition=True)
    return dict(zip(codes, (int(column) for column in kept), strict=True))


def _with(alternatives: Ints, placed: Sequence[Code], code: Code) -> Ints:
    """(1, n): the alternatives with that placement."""
    return alternatives[[at for at, found in enumerate(placed) if found == code]][None]


def _memory(
    builder: Builder,
    problem: Problem,
    columns: Sequence[Ints],
    wires: Sequence[_WireColumns],
    memory_bytes: float,
) -> None:
    """Parameters with their states, and everything that backward needs, of one rank."""
    places, sizes = list(columns), [node.bytes for node in problem.nodes]
    for item in wires:
        places.append(np.array(list(item.kept.values()), dtype=np.int64))
        held = [item.wire.bytes / problem.hardware.mesh.shards(code) for code in item.kept]
        sizes.append(np.array(held))
    term = np.concatenate(places)[None], np.concatenate(sizes)[None] / GB
    builder.add("memory", term, upper=memory_bytes / GB, meaning="memory of one rank", unit="GB")
