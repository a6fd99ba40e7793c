"""The shape of a legality rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.rules.facts import Facts

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """A named condition on some columns.

    Args:
        name: short, for reports and counts.
        knobs: user's knobs that decide it; the first is the one to change when it fails.
        columns: columns of ``Layouts`` that it reads, so that a generator can apply it as soon as these are known.
        holds: (layouts, facts) -> one bool per row.
        requirement: what must be true, in words, with this job's numbers.
    """

    name: str
    knobs: tuple[str, ...]
    columns: tuple[str, ...]
    holds: Callable[[Layouts, Facts], Mask]
    requirement: Callable[[Facts], str]


def all_divisible(sizes: tuple[int, ...], by: IntArray) -> Mask:
    """Whether every size is a multiple of ``by``, per row."""
    result = np.ones(len(by), dtype=np.bool_)
    for size in sizes:
        result &= size % by == 0
    return result


def listed(sizes: tuple[int, ...]) -> str:
    """Sizes for a sentence."""
    return " and ".join(str(size) for size in sizes) if sizes else "none"


def mask(condition: ArrayLike) -> Mask:
    """A condition as an array of bools."""
    return np.asarray(condition, dtype=np.bool_)
