"""Activations on their way to the host and back: what was moved away must be there before it is fetched again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from planner.simulator.lowering.stamp import Integers, Item, Where
from planner.simulator.program import ProgramBuilder

Key = tuple[int, int, int]
"""(micro-batch, virtual stage, block)."""


@dataclass(eq=False)
class Returns:
    """Remembers a rank's transfers out and in, and ties them together."""

    _out: dict[Key, list[Integers]] = field(default_factory=dict)
    _back: list[tuple[Key, Integers]] = field(default_factory=list)

    def out(self, where: Where, block: int, item: Item) -> None:
        """Activations of a block leave."""
        for key, ids in _rows(where, block, item):
            self._out.setdefault(key, []).append(ids)

    def back(self, where: Where, block: int, item: Item) -> None:
        """Something is fetched for a block's pass."""
        self._back.extend(_rows(where, block, item))

    def tie(self, builder: ProgramBuilder) -> None:
        """Lets every fetch wait for what it brings back; fetches for forward passes wait for nothing."""
        for key, ids in self._back:
            for gone in self._out.get(key, ()):
                builder.after(ids, gone)


def _rows(where: Where, block: int, item: Item) -> Iterator[tuple[Key, Integers]]:
    shape = where.position.shape
    micro_batches = np.broadcast_to(where.micro_batch, shape).tolist()
    stages = np.broadcast_to(where.stage, shape).tolist()
    for row, (micro_batch, stage) in enumerate(zip(micro_batches, stages, strict=True)):
        yield (micro_batch, stage, block), item.ids[row]
