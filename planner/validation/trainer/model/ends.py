"""The two ends of the model: token embedding, and final norm with the projection to the vocabulary."""

from __future__ import annotations

from torch import Tensor, nn

from planner.validation.trainer.batches import sequence_places
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear, Table
from planner.validation.trainer.model.norms import norm
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel


class Embedding(nn.Module):
    """Token table, and learned positions when the model has them."""

    unit = "embedding"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        spec = settings.model
        self.tensor = tensor = tensor_parallel(settings, groups)
        self.tokens = Table(spec.padded_vocab // tensor.size, spec.hidden, axis="tp")
        self.learned = spec.positions == "learned"
        if self.learned:
            rows = spec.learned_positions or spec.seq_len
            self.positions = Table(rows, spec.hidden, partial=tensor.stream_axis)
            self.places = tensor.stream_part(sequence_places(settings, groups))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens of this rank, hidden) for whole token rows (batch, seq_len / cp)."""
        stream = self.tensor.lookup(tokens, self.tokens)
        if self.learned:
            stream = stream + self.positions(self.places.to(tokens.device))
        return stream


class Head(nn.Module):
    """Final norm and projection to the vocabulary, which tensor parallelism cuts."""

    unit = "head"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        spec = settings.model
        self.tensor = tensor = tensor_parallel(settings, groups)
        self.final = spec.final_norm
        if self.final:
            self.norm = norm(settings, spec.hidden, tensor.stream_axis)
        self.output = Linear(
            spec.hidden, spec.padded_vocab // tensor.size, bias=spec.head_bias, side="outputs"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, seq_len / cp, vocabulary of this rank)."""
        if self.final:
            x = self.norm(x)
        return self.tensor.columns(x, self.output)[0]
