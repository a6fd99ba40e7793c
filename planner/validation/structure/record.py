"""What one traced step of one rank did, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TracedCall:
    """One kind of collective call; ``nbytes``: the larger of the rank's input and output, ``calls`` in one step."""

    collective: str
    axis: str
    pass_: str
    nbytes: int
    calls: int


@dataclass(frozen=True)
class Holder:
    """What held memory at the peak: storages first seen under one operator, shape and dtype."""

    kind: str
    made_by: str
    count: int
    nbytes: int


@dataclass(frozen=True)
class Trace:
    """One step of one rank.

    Args:
        flops: matmul and attention FLOPs by pass (forward, backward, recompute), as PyTorch's counter has them.
        calls: collectives and messages sent.
        persistent: bytes of parameters, gradients and optimizer state.
        peak_bytes: most bytes alive; peak_by_class: of what.
        holders: the largest of it.
        seconds: that building and tracing took.
        attention_flops: those of ``flops`` that attention's kernels do.
    """

    flops: Mapping[str, int]
    calls: tuple[TracedCall, ...]
    persistent: Mapping[str, int]
    peak_bytes: int
    peak_by_class: Mapping[str, int]
    holders: tuple[Holder, ...]
    seconds: float
    attention_flops: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Trace:
        """Back from plain data."""
        calls = tuple(TracedCall(**item) for item in data["calls"])
        return Trace(**{**data, "calls": calls, "holders": tuple(Holder(**h) for h in data["holders"])})
