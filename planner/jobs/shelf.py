"""What many jobs are made of, read once: models, clusters and framework profiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Part = TypeVar("Part")

MOST_PARTS = 256


class Shelf:
    """Parts of jobs by what refers to them; the caller owns it and passes it to ``resolve`` for each of many jobs.

    Reading and checking the files of a small job takes longer than pricing it. Files that change while a shelf is in use
    are not read again.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str, str], Any] = {}

    def take(self, kind: str, reference: Any, base: Path | None, read: Callable[[], Part]) -> Part:
        """The part of that kind, read on first use; what cannot be read is not kept.

        Args:
            reference: a name, a path or a mapping, as jobs hold it.
            base: folder that relative paths start from.
        """
        key = (kind, json.dumps(reference, sort_keys=True, default=str), str(base))
        if key not in self._parts:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            self._parts[key] = read()
        part: Part = self._parts[key]
        return part
