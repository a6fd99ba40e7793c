"""Live bytes of a PyTorch program over time: every storage from its first sight to its end, and what was alive at the peak."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from planner.validation.trainer.phases import Phase, current_phase

PHASE_CLASS: Mapping[Phase, str] = {
    "forward": "activations",
    "backward": "transient",
    "recompute": "transient",
    "optimizer": "optimizer_transient",
}
"""Class of a storage by the part of the step that made it, until it is known better."""


@dataclass
class Storage:
    """One allocation.

    Args:
        nbytes: now; 0 while it is freed by resizing.
        kind: class of memory.
        made_by: operator, shape and dtype of the tensor that it was first seen under.
    """

    nbytes: int
    kind: str
    made_by: str


class LiveBytes:
    """Tracks storages by weak references.

    ``peak`` is the largest total since ``reset``; what was alive then is recorded when the total falls again, so classes
    given later (``classify``) still count.
    """

    def __init__(self, wanted: Callable[[torch.Tensor], bool]) -> None:
        self.wanted = wanted
        self.total = 0
        self.peak = 0
        self._known: dict[int, tuple[weakref.ref[Any], Storage]] = {}
        self._at_peak: list[tuple[Storage, int]] = []
        self._recorded = 0

    def see(self, tensors: Iterable[torch.Tensor], operator: str, kind: str | None = None) -> None:
        """Registers the storages of tensors that are new."""
        for tensor in tensors:
            if self.wanted(tensor):
                self._add(tensor, operator, kind)
        self.peak = max(self.peak, self.total)

    def classify(self, tensors: Iterable[torch.Tensor], kind: str) -> int:
        """Gives storages a class; their bytes together, each storage once."""
        seen: dict[int, int] = {}
        for tensor in tensors:
            if self.wanted(tensor):
                entry = self._add(tensor, "given", kind)
                entry.kind = kind
                seen[id(entry)] = entry.nbytes
        self.peak = max(self.peak, self.total)
        return sum(seen.values())

    def reset(self) -> None:
        """Forgets the peak so far."""
        self.peak, self._recorded, self._at_peak = self.total, 0, []

    def by_class(self) -> dict[str, int]:
        """Class -> bytes at the peak."""
        self._record()
        result: Counter[str] = Counter()
        for storage, nbytes in self._at_peak:
            result[storage.kind] += nbytes
        return dict(result)

    def largest(self, count: int) -> list[tuple[str, str, int, int]]:
        """(class, made by, how many, bytes) of what held most memory at the peak."""
        self._record()
        number: Counter[tuple[str, str]] = Counter()
        held: Counter[tuple[str, str]] = Counter()
        for storage, nbytes in self._at_peak:
            number[storage.kind, storage.made_by] += 1
            held[storage.kind, storage.made_by] += nbytes
        return [(*key, number[key], nbytes) for key, nbytes in held.most_common(count)]

    @contextmanager
    def resizes(self) -> Iterator[None]:
        """Follows ``UntypedStorage.resize_`` inside: it frees and allocates without any operator (fully_shard does so)."""
        original = torch.UntypedStorage.resize_

        def resize(storage: torch.UntypedStorage, size: int) -> Any:
            result = original(storage, size)
            self._resized(storage)
            return result

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            torch.UntypedStorage.resize_ = original  # type: ignore[method-assign]

    def _add(self, tensor: torch.Tensor, operator: str, kind: str | None) -> Storage:
        storage = tensor.untyped_storage()
        known = self._known.get(id(storage))
        if known is not None and known[0]() is storage:
            return known[1]
        label = f"{operator} {list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        entry = Storage(storage.nbytes(), kind or PHASE_CLASS[current_phase()], label)
        self._known[id(storage)] = (weakref.ref(storage, self._gone(id(storage), entry)), entry)
        self.total += entry.nbytes
        return entry

    def _gone(self, key: int, entry: Storage) -> Callable[[object], None]:
        def forget(reference: object) -> None:
            self._shrink(entry.nbytes)
            known = self._known.get(key)
            if known is not None and known[0] is reference:
                del self._known[key]

        return forget

    def _resized(self, storage: torch.UntypedStorage) -> None:
        known = self._known.get(id(storage))
        if known is None or known[0]() is not storage:
            return
        entry, size = known[1], storage.nbytes()
        if size < entry.nbytes:
            self._shrink(entry.nbytes - size)
        else:
            self.total += size - entry.nbytes
        entry.nbytes = size
        self.peak = max(self.peak, self.total)

    def _shrink(self, nbytes: int) -> None:
        if nbytes:
            self._record()
            self.total -= nbytes

    def _record(self) -> None:
        """Keeps what is alive when this is the peak: called before anything goes."""
        if self.total == self.peak and self.peak > self._recorded:
            self._at_peak = [(entry, entry.nbytes) for _, entry in self._known.values() if entry.nbytes]
            self._recorded = self.peak
