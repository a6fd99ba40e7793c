"""What a pipeline stage may own: every run of consecutive layers, folded into the few that differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.stages import StageClass, stage_blocks
from planner.layouts.layouts import IntArray
from planner.models.graph import ModelGraph


@dataclass(frozen=True)
class Contents:
    """The distinct contents of stages.

    Args:
        layers: of the model.
        index: (layers + 1, layers + 1); at [i, j] the content of a stage that owns layers i to j - 1, -1 for j <= i.
        stages: each content as a class of one rank.
    """

    layers: int
    index: IntArray
    stages: tuple[StageClass, ...]


def stage_contents(model: ModelGraph, shortest: int) -> Contents:
    """All contents of a stage of a pipeline.

    Blocks that are no layers go where ``stage_blocks`` puts them: with the layer that follows, the head with the last.

    Args:
        shortest: stages of the shortest pipeline: each other stage owns a layer at least.
    """
    layers = model.layers
    atoms = stage_blocks(model, layers, None)
    names = list(model.blocks)
    counts = np.zeros((layers + 1, len(names)), dtype=np.int64)
    for place, atom in enumerate(atoms):
        counts[place + 1] = counts[place]
        for name in atom:
            counts[place + 1, names.index(name)] += 1
    first, last = np.triu_indices(layers + 1, k=1)
    few = last - first <= layers - (shortest - 1)
    first, last = first[few], last[few]
    rows = np.column_stack([counts[last] - counts[first], first == 0, last == layers])
    distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
    index = np.full((layers + 1, layers + 1), -1, dtype=np.int64)
    index[first, last] = inverse.reshape(-1)
    return Contents(layers, index, tuple(_stage(model, names, row) for row in distinct))


def _stage(model: ModelGraph, names: list[str], row: NDArray[np.int64]) -> StageClass:
    """A content as a class of pipeline ranks of which one comes later (so that it sends messages)."""
    owned = {name: int(count) for name, count in zip(names, row, strict=False) if count}
    layers = {name: count for name, count in owned.items() if model.blocks[name].kind == "layer"}
    others = {name: count for name, count in owned.items() if name not in layers}
    return StageClass((1,), layers, others, (1,), bool(row[-2]), bool(row[-1]))
