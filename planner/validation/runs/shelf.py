"""What one validation run has already built: catalogue entries, models and clusters that many rows share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Built = TypeVar("Built")


class Shelf:
    """Remembers what was built under a key, for as long as its owner lives."""

    def __init__(self) -> None:
        self._built: dict[Hashable, Any] = {}

    def once(self, key: Hashable, build: Callable[[], Built]) -> Built:
        """The value under ``key``, built at the first request."""
        if key not in self._built:
            self._built[key] = build()
        found: Built = self._built[key]
        return found
