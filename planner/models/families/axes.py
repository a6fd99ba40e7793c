"""Sized axes of one model, named once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from planner.models.graph import BATCH, SEQUENCE, SEQUENCE_KV, Axis
from planner.models.spec import ModelSpec


@dataclass(frozen=True)
class ModelAxes:
    """The axes that several blocks of one model share."""

    spec: ModelSpec

    @cached_property
    def hidden(self) -> Axis:
        return Axis("hidden", self.spec.hidden)

    @cached_property
    def heads(self) -> Axis:
        return Axis("heads", self.spec.query_heads)

    @cached_property
    def kv_heads(self) -> Axis:
        return Axis("kv_heads", self.spec.key_heads)

    @cached_property
    def head_dim(self) -> Axis:
        return Axis("head_dim", self.spec.head_width)

    @cached_property
    def vocab(self) -> Axis:
        return Axis("vocab", self.spec.padded_vocab)

    @cached_property
    def stream(self) -> tuple[Axis, ...]:
        """Axes of the residual stream."""
        return (BATCH, SEQUENCE, self.hidden)

    @cached_property
    def kv_stream(self) -> tuple[Axis, ...]:
        """Axes of the stream that cross-attention reads."""
        return (BATCH, SEQUENCE_KV, self.hidden)
