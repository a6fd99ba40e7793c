"""The attention core of a layer: over the rank's own tokens, or over a sequence that is shared."""

from __future__ import annotations

from torch import Tensor, nn

from planner.validation.trainer.context.kernels import attend
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.settings import Settings


class CoreAttention(nn.Module):
    """softmax(q k^T) v of a causal decoder over the whole sequence, whichever ranks hold it."""

    unit = "core_attention"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        self.fused = settings.attention != "unfused"

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(batch, tokens, heads, width of values) for q, k, v of (batch, tokens, heads, width)."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return attend(q, k, v, causal=True, fused=self.fused).transpose(1, 2)
