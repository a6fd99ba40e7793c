"""Which pipelines over groups have no room for the model, however its layers are cut: all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planner.layouts.layouts import IntArray
from planner.solvers.mixed.candidates import Candidates, Side
from planner.solvers.mixed.tables import StageTables


def have_room(
    sides: Mapping[int, Side], tables: Mapping[int, StageTables], found: Sequence[Candidates]
) -> NDArray[np.bool_]:
    """Candidates whose stages can own all layers of the commonest kind between them, one after the other.

    A stage holds no more of them than one without any other block, with the largest power of two that its micro-batches in
    flight reach.
    """
    layers = next(iter(sides.values())).ways.job.model.layer_order
    name, count = Counter(layers).most_common(1)[0]
    longest = max((int(item.stages.max(initial=1)) for item in found), default=1)
    power = np.log2(np.arange(1, longest + 1)).astype(np.int64)
    most = {
        place: np.stack([tables[place].most_layers(name, count, 2**level) for level in range(power[-1] + 1)])[
            power
        ]
        for place in sides
    }
    return np.concatenate([_held(sides, most, item) >= count for item in found])


def _held(sides: Mapping[int, Side], most: Mapping[int, IntArray], item: Candidates) -> IntArray:
    """Layers that the stages of each candidate hold between them.

    Args:
        most: by group (flights, ways), layers of a stage with 1, 2, ... micro-batches in flight.
    """
    left, limit = item.stages, item.micro_batches
    held = np.zeros(len(item), dtype=np.int64)
    for place, group in enumerate(item.order):
        way, table = item.ways[:, place], most[group]
        upto = np.concatenate([np.zeros_like(table[:1]), np.cumsum(table, axis=0)])
        after = left - sides[group].ways.stages[way]
        first, last = np.minimum(left, limit), np.minimum(after, limit)
        full = (left - after) - (first - last)
        held += upto[first, way] - upto[last, way] + full * table[np.minimum(limit, len(table)) - 1, way]
        left = after
    return held
