"""The layers of one virtual pipeline stage, with the ends that it owns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from planner.validation.trainer.batches import sequence_places
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.block import Block
from planner.validation.trainer.model.ends import Embedding, Head
from planner.validation.trainer.model.positions import rope_table
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel


class Stage(nn.Module):
    """Embedding (or None), ``layers`` by global index, head (or None).

    Parameters are named as in the whole model (``layers.3.attention.q.weight``). Give it storage with ``to_empty``
    and values with ``initial.fill``.
    """

    def __init__(
        self, settings: Settings, groups: Groups, layers: Sequence[int], *, embedding: bool, head: bool
    ) -> None:
        super().__init__()
        self.settings, self.groups = settings, groups
        self.tensor = tensor_parallel(settings, groups)
        self.embedding = Embedding(settings, groups) if embedding else None
        self.layers = nn.ModuleDict({str(index): Block(settings, groups, index) for index in layers})
        self.head = Head(settings, groups) if head else None
        self.tie()
        self._tables: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def tie(self) -> None:
        """Make head and embedding one parameter, when the model ties them and both are here."""
        if self.embedding is not None and self.head is not None and self.settings.model.tied_embeddings:
            self.head.output.weight = self.embedding.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits when the stage has the head, else the stream for the next stage.

        Args:
            x: tokens (batch, seq_len / cp) when the stage has the embedding, else the stream of the stage before.
        """
        if self.embedding is not None:
            x = self.embedding(x)
        table = self._table(x)
        for layer in self.layers.values():
            x = layer(x, table)
        return x if self.head is None else self.head(x)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """This rank's part of the step's mean loss: summed losses of its tokens over the tokens of the global batch.

        The parts of all data- and context-parallel ranks and micro-batches add up to the loss of the step; ranks of a
        tensor-parallel group hold the same part.
        """
        return self.tensor.loss(logits, labels) / self.settings.tokens_per_step

    def _table(self, x: Tensor) -> Tensor | None:
        """Cosines and sines for the rank's part of the sequence (the whole of it for a tensor-parallel group)."""
        spec = self.settings.model
        if spec.positions != "rope" or not len(self.layers):
            return None
        key = (x.device, x.dtype)
        if key not in self._tables:
            width = spec.head_width if spec.mla is None else spec.mla.qk_rope_head_dim
            places = sequence_places(self.settings, self.groups)
            self._tables[key] = rope_table(places, width, device=x.device, dtype=x.dtype)
        return self._tables[key]


def build_stage(
    settings: Settings,
    groups: Groups,
    layers: Sequence[int],
    *,
    embedding: bool,
    head: bool,
    device: str = "meta",
) -> Stage:
    """A stage with its tensor and context parallelism applied, in the settings' parameter dtype.

    Args:
        layers: global indices, in order; embedding, head: whether the stage owns that end.
        device: ``meta`` for a stage that gets storage later.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, settings.parameter_dtype))
    try:
        with torch.device(device):
            stage = Stage(settings, groups, layers, embedding=embedding, head=head)
    finally:
        torch.set_default_dtype(default)
    if settings.convention == "pytorch" and settings.layout.tp > 1:
        from planner.validation.trainer.tensor.dtensor import shard_tensors

        shard_tensors(stage, settings, groups)
    return stage


def whole_model(settings: Settings, groups: Groups, *, device: str = "meta") -> Stage:
    """The only stage of a layout without pipelines."""
    return build_stage(
        settings, groups, range(settings.model.layers), embedding=True, head=True, device=device
    )
