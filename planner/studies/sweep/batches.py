"""Points handed out in portions: one by one while they take long, many at once when they are quick."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from planner.studies.sweep.points import Settings

Numbered = tuple[int, Settings]
"""A point with its number."""

PORTION_S = 0.25
"""Work of one portion: long against handing it out, short against the whole."""

LARGEST = 256


class Batches:
    """What is left to do.

    Args:
        points: all points; their places are their numbers.
        workers: the last portions are small, so that all of them end together.
    """

    def __init__(self, points: Sequence[Settings], workers: int) -> None:
        self._left: deque[Numbered] = deque(enumerate(points))
        self._alone: deque[Numbered] = deque()
        self._workers = workers
        self._mean_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self._left or self._alone)

    def took(self, seconds: float) -> None:
        """Learn from the time of one point."""
        self._mean_s = seconds if self._mean_s is None else 0.9 * self._mean_s + 0.1 * seconds

    def next(self) -> list[Numbered]:
        """The next portion, empty when nothing is left."""
        if self._alone:
            return [self._alone.popleft()]
        wanted = 1 if self._mean_s is None else int(PORTION_S / max(self._mean_s, 1e-6))
        fair = len(self._left) // (2 * self._workers)
        count = max(1, min(wanted, fair, LARGEST))
        return [self._left.popleft() for _ in range(min(count, len(self._left)))]

    def put_back(self, points: Sequence[Numbered], *, alone: bool = False) -> None:
        """Points that a worker did not come to.

        Args:
            alone: one of them ended the worker, and only single portions can tell which.
        """
        if alone:
            self._alone.extend(points)
        else:
            self._left.extendleft(reversed(points))
