"""One optimizer step of one rank: micro-batches through its stages, gradients summed, weights updated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from planner.validation.trainer.batches import Batch, micro_batches
from planner.validation.trainer.cuts import Piece, piece
from planner.validation.trainer.phases import phase
from planner.validation.trainer.pipeline import Pipeline, StagePart, stage_parts
from planner.validation.trainer.settings import Settings

if TYPE_CHECKING:
    from planner.validation.trainer.build import Built
    from planner.validation.trainer.data.replicas import Replicas
    from planner.validation.trainer.groups import Groups

TOKENS, HEAD = "embedding.tokens.weight", "head.output.weight"
"""The two ends of a model that share one table when embeddings are tied."""


class Trainer:
    """A rank of a run, ready for its steps.

    Args:
        settings: of the run. groups: see ``groups.make_groups``.
        built: the rank's part of the model; None to build it with its initial weights.

    Raises:
        PlannerError: a layout that the trainer cannot run.
    """

    def __init__(self, settings: Settings, groups: Groups, built: Built | None = None) -> None:
        from planner.validation.trainer.build import build

        self.settings, self.groups = settings, groups
        self.parts = stage_parts(settings, groups.index("pp"))
        built = built or build(settings, groups, self.parts)
        self.modules, self.replicas, self.optimizer = built.modules, built.replicas, built.optimizer
        self._pipeline: Pipeline | None = None

    def step(self, index: int) -> Tensor | None:
        """One optimizer step; its gradients stay until the next.

        Returns:
            This rank's share of the loss (its tokens over the tokens of the global batch), None without the last stage.
        """
        self.optimizer.zero_grad()
        batches = [self._placed(batch) for batch in micro_batches(self.settings, self.groups, index)]
        loss = (
            self._pipelined(batches)
            if len(self.parts) > 1 or self.settings.layout.pp > 1
            else self._loop(batches)
        )
        sum_tied(self.settings, self.groups, self.parts, self.modules, self.replicas)
        self.replicas.finish()
        self.optimizer.step()
        return loss

    def gradient_pieces(self) -> list[Piece]:
        """This rank's parts of the gradients of the last step, by name; all ranks must call it (shards are gathered)."""
        return [
            piece(owned.name, gradient, owned.cuts, self.groups)
            for owned, gradient in self.replicas.gradients()
        ]

    def _placed(self, batch: Batch) -> Batch:
        device = self.settings.device
        return Batch(batch.tokens.to(device), batch.labels.to(device))

    def _loop(self, batches: Sequence[Batch]) -> Tensor:
        stage = self.modules[0]
        losses = []
        for index, batch in enumerate(batches, 1):
            loss = stage.loss(stage(batch.tokens), batch.labels)
            self.replicas.last_backward(self.parts[0].index, index == len(batches))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _pipelined(self, batches: Sequence[Batch]) -> Tensor | None:
        if self._pipeline is None:
            stages = {part.index: module for part, module in zip(self.parts, self.modules, strict=True)}
            hidden = self._hidden(batches[0])
            group = self.groups.group("pp")
            assert group is not None
            self._pipeline = Pipeline(
                self.settings, stages, hidden, batches[0].tokens, group, self.replicas.collect
            )
        return self._pipeline.run(batches)

    def _hidden(self, batch: Batch) -> Tensor:
        """What passes between stages: the residual stream, its sequence cut over tp under sequence parallelism."""
        settings = self.settings
        sequences, length = batch.tokens.shape
        if settings.layout.sp:
            length //= settings.layout.tp
        dtype = getattr(torch, settings.compute_dtype)
        shape = (sequences, length, settings.model.hidden)
        return torch.empty(shape, dtype=dtype, device=settings.device).requires_grad_()


@torch.no_grad()
def sum_tied(
    settings: Settings,
    groups: Groups,
    parts: Sequence[StagePart],
    modules: Sequence[nn.Module],
    replicas: Replicas,
) -> None:
    """Both copies of a tied table, on the first and the last stage, get the sum of their gradients.

    One all-reduce between the two pipeline ranks (Megatron-LM, ``finalize_model_grads``); a rank that holds both ends adds.
    """
    if not settings.model.tied_embeddings or (len(parts) == 1 and settings.layout.pp == 1):
        return
    tables = [
        replicas.gradient(dict(module.named_parameters())[name])
        for part, module in zip(parts, modules, strict=True)
        for here, name in ((part.embedding, TOKENS), (part.head, HEAD))
        if here
    ]
    if len(tables) == 2:
        total = tables[0] + tables[1]
        for table in tables:
            table.copy_(total)
    elif tables:
        with phase("backward"):
            dist.all_reduce(tables[0], group=groups.group("ends"))
