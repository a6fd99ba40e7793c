"""Which blocks each pipeline rank owns, folded into a few classes of equal ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import IntArray, Layouts, distinct_rows
from planner.models.graph import ModelGraph

V_SCHEDULES = frozenset({"zb_v", "v_half", "v_min", "dualpipe_v"})
"""Rank r holds virtual stages r and 2p - 1 - r: embedding and head share rank 0."""

TWICE_SCHEDULES = frozenset({"dualpipe"})
"""Every rank holds two stages, one of each direction, so parameters are stored twice over."""


@dataclass(frozen=True)
class StageClass:
    """Pipeline ranks that own the same blocks.

    Args:
        ranks: members, ascending; the first has most micro-batches in flight.
        recomputed, plain: instances of each block that follow the recompute policy, and that do not.
        virtual_stages: of the first member.
        holds_first, holds_last: the rank owns the first (last) virtual stage.
    """

    ranks: tuple[int, ...]
    recomputed: Mapping[str, int]
    plain: Mapping[str, int]
    virtual_stages: tuple[int, ...]
    holds_first: bool
    holds_last: bool

    @property
    def count(self) -> int:
        return len(self.ranks)

    @property
    def owned(self) -> tuple[object, ...]:
        """Blocks of a member in order, repeated and once-only: ranks for which it is equal take the same time."""
        return tuple(self.recomputed.items()), tuple(self.plain.items())

    @property
    def content(self) -> object:
        """The same in whatever order."""
        return frozenset(self.recomputed.items()), frozenset(self.plain.items())

    @property
    def units(self) -> int:
        """Blocks of one member: parts that are gathered and reduced on their own."""
        return sum(self.recomputed.values()) + sum(self.plain.values())

    def layers(self, model: ModelGraph) -> int:
        """Transformer (or other) layers of one member."""
        return sum(
            n
            for part in (self.recomputed, self.plain)
            for name, n in part.items()
            if model.blocks[name].kind == "layer"
        )


@dataclass(frozen=True)
class StageGroup:
    """Rows of a ``Layouts`` that share their stage classes.

    Rows that deal the same blocks to the same ranks in more or fewer chunks are one group; ``vpp`` and the classes' virtual
    stages are those of its first row.
    """

    rows: IntArray
    pp: int
    vpp: int
    classes: tuple[StageClass, ...]
    placement: int

    @property
    def turns(self) -> float:
        """Share of a rank's blocks that one micro-batch passes: half when each direction has its own stage."""
        return 0.5 if self.placement == 2 else 1.0


def stage_groups(layouts: Layouts, model: ModelGraph, *, every_rank: bool = False) -> Iterator[StageGroup]:
    """Groups rows by what their pipeline ranks own.

    Args:
        every_rank: one class per rank, for reports on single layouts.
    """
    kinds = np.array([_placement(name) for name in SCHEDULES])[layouts.columns["schedule"]]
    names = ("pp", "vpp", "partition", "recompute_layers")
    columns = [*(layouts.columns[name] for name in names), kinds]
    first, inverse = distinct_rows(columns, len(layouts))
    groups: dict[object, tuple[int, StageGroup]] = {}
    alike = np.zeros(len(first), dtype=np.int64)
    for index, example in enumerate(first):
        pp, vpp, partition, first_n, kind = (int(column[example]) for column in columns)
        shares = layouts.partitions[partition]
        classes = stage_classes(
            model, pp, vpp, shares, layouts.recompute_layers_of(first_n), kind, every_rank=every_rank
        )
        key = index if every_rank else (kind, tuple((stage.ranks, stage.owned) for stage in classes))
        group = StageGroup(first[:0], pp, vpp, classes, kind)
        alike[index] = groups.setdefault(key, (len(groups), group))[0]
    place = alike[inverse]
    for index, group in groups.values():
        yield replace(group, rows=np.flatnonzero(place == index))


def _placement(schedule: str) -> int:
    return 1 if schedule in V_SCHEDULES else (2 if schedule in TWICE_SCHEDULES else 0)


def virtual_stages_of(rank: int, pp: int, vpp: int, kind: int) -> tuple[int, ...]:
    """Virtual stages of a pipeline rank: loop placement, V placement (kind 1), both directions (kind 2)."""
    if kind == 1:
        return (rank, 2 * pp - 1 - rank)
    if kind == 2:
        return (rank, pp - 1 - rank)
    return tuple(rank + chunk * pp for chunk in range(vpp))


def stage_blocks(model: ModelGraph, stages: int, shares: tuple[int, ...] | None) -> list[list[str]]:
    """Blocks of each virtual stage in order.

    Layers are dealt out evenly or by ``shares``; other blocks go with the layer that follows them, those after the last
    layer (head) with the last stage.
    """
    layers = model.layers
    counts = shares if shares is not None else (layers // stages,) * stages
    is_layer = np.array([model.blocks[name].kind == "layer" for name in model.order])
    before = np.cumsum(is_layer) - is_layer
    dealt = np.searchsorted(np.cumsum((0, *counts)), before, side="right") - 1
    result: list[list[str]] = [[] for _ in range(stages)]
    for name, stage in zip(model.order, np.minimum(dealt, stages - 1).tolist(), strict=True):
        result[stage].append(name)
    return result


def stage_classes(
    model: ModelGraph,
    pp: int,
    vpp: int,
    shares: tuple[int, ...] | None,
    first_n: int | tuple[int, ...] | None,
    kind: int = 0,
    *,
    every_rank: bool = False,
) -> tuple[StageClass, ...]:
    """Classes of equal pipeline ranks.

    Args:
        shares: layers per virtual stage, None for even.
        first_n: how many of a rank's layers follow the recompute policy, for all ranks or per rank, None for all.
        kind: placement, see ``virtual_stages_of``.
    """
    stages = pp * 2 if kind == 1 else (pp if kind == 2 else pp * vpp)
    blocks = stage_blocks(model, stages, shares)
    classes: dict[object, StageClass] = {}
    for rank in range(pp):
        mine = virtual_stages_of(rank, pp, vpp, kind)
        owned = [name for stage in mine for name in blocks[stage]]
        layers = [name for name in owned if model.blocks[name].kind == "layer"]
        most = first_n[rank] if isinstance(first_n, tuple) else first_n
        head = len(layers) if most is None else min(most, len(layers))
        recomputed, plain = Counter(layers[:head]), Counter(layers[head:])
        plain.update(name for name in owned if model.blocks[name].kind != "layer")
        first, last = 0 in mine, stages - 1 in mine
        key = (
            rank
            if every_rank
            else (tuple(sorted(recomputed.items())), tuple(sorted(plain.items())), first, last)
        )
        known = classes.get(key)
        ranks = (*known.ranks, rank) if known else (rank,)
        classes[key] = StageClass(
            ranks, recomputed, plain, known.virtual_stages if known else mine, first, last
        )
    return tuple(classes.values())
