"""The points of a sweep: all combinations of the axes' values, or a random sample of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from planner.errors import PlannerError
from planner.studies.sweep.fields import Value
from planner.studies.sweep.values import Axis

MOST_POINTS = 1_000_000

Settings = Mapping[str, Value]
"""The value of each swept field by its path."""


def sweep_points(axes: Sequence[Axis], samples: int | None = None, seed: int = 0) -> list[Settings]:
    """The points, each once, in the order in which the table lists them.

    Args:
        axes: the last one varies fastest.
        samples: so many draws instead of all combinations; more of them with the same seed begin with the same ones.

    Raises:
        PlannerError: two axes of one field, a distribution without ``samples``, or too many points.
    """
    _check(axes, samples)
    found = _grid(axes) if samples is None else _sample(axes, samples, Random(seed))
    distinct: dict[str, Settings] = {}
    for point in found:
        distinct.setdefault(json.dumps(point), point)
    return list(distinct.values())


def _check(axes: Sequence[Axis], samples: int | None) -> None:
    fields = [axis.path for axis in axes]
    twice = next((path for path in fields if fields.count(path) > 1), None)
    if twice is not None:
        raise PlannerError("is varied twice; give all its values in one --over", field=f"--over {twice}")
    drawn = next((axis.path for axis in axes if axis.draw is not None), None)
    if samples is None and drawn is not None:
        raise PlannerError("a distribution needs --samples N", field=f"--over {drawn}")
    count = math.prod(len(axis.values) for axis in axes) if samples is None else samples
    if count > MOST_POINTS:
        raise PlannerError(
            f"found {count:,} points; at most {MOST_POINTS:,} (--samples takes some)", field="--over"
        )


def _grid(axes: Sequence[Axis]) -> Iterator[Settings]:
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.path for axis in axes), values, strict=True))


def _sample(axes: Sequence[Axis], samples: int, random: Random) -> Iterator[Settings]:
    for _ in range(samples):
        yield {axis.path: axis.sample(random) for axis in axes}
