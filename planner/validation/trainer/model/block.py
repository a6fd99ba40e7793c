"""One transformer layer: attention, then MLP or experts, each behind a norm and added to the stream."""

from __future__ import annotations

from torch import Tensor, nn

from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.attention import Attention
from planner.validation.trainer.model.mlp import Mlp
from planner.validation.trainer.model.norms import norm
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel


class Block(nn.Module):
    """Layer ``index`` (from 0) of the model."""

    def __init__(self, settings: Settings, groups: Groups, index: int) -> None:
        super().__init__()
        spec = settings.model
        shared = tensor_parallel(settings, groups).stream_axis
        self.attention_norm = norm(settings, spec.hidden, shared)
        self.attention = _attention(settings, groups)
        self.mlp_norm = norm(settings, spec.hidden, shared)
        self.routed = spec.moe_layers()[index]
        if self.routed:
            from planner.validation.trainer.model.moe import Moe

            self.moe = Moe(settings, groups, index)
        else:
            self.mlp = Mlp(settings, groups, spec.ffn_hidden or 0)

    def forward(self, x: Tensor, table: Tensor | None) -> Tensor:
        """The stream after this layer.

        Args:
            x: (batch, tokens of this rank, hidden).
            table: of the rotary encoding, None without one.
        """
        x = x + self.attention(self.attention_norm(x), table)
        fed = (self.moe if self.routed else self.mlp)(self.mlp_norm(x))
        stream: Tensor = x + fed
        return stream


def _attention(settings: Settings, groups: Groups) -> nn.Module:
    if settings.model.mla is None:
        return Attention(settings, groups)
    from planner.validation.trainer.model.latent import LatentAttention

    return LatentAttention(settings, groups)
