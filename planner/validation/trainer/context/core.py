"""The attention core of a layer: over the rank's own tokens, or over a sequence that is shared."""

from __future__ import annotations

from torch import Tensor, nn

from planner.validation.trainer.context.gathered import Gathering, gathered_attention
from planner.validation.trainer.context.kernels import attend
from planner.validation.trainer.context.ring import ring_attention
from planner.validation.trainer.context.rotation import Ring
from planner.validation.trainer.exchange import exchanged
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.settings import Settings

SEQUENCE, HEADS = 1, 2


class CoreAttention(nn.Module):
    """softmax(q k^T) v of a causal decoder over the whole sequence, whichever ranks hold it.

    Ulysses (DeepSpeed-Ulysses, arXiv 2309.14509) swaps sequence for heads inside its group; what is left of the
    sequence is shared by a ring or gathered. Both together are USP (arXiv 2405.07719).
    """

    unit = "core_attention"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        self.fused = settings.attention != "unfused"
        self.one_width = settings.framework.pads_values
        self.ulysses = groups.group("ulysses")
        self.zigzag = settings.cp_balance == "zigzag"
        self.ring: Ring | None = None
        self.gathering: Gathering | None = None
        shared = groups.group("ring")
        if shared is not None and settings.layout.cp_kind == "allgather":
            regathers = settings.framework.regather_inputs
            self.gathering = Gathering(shared, self.zigzag, regathers, self.fused)
        elif shared is not None:
            self.ring = Ring(shared)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(batch, tokens, heads, width of values) for q, k, v of (batch, tokens, heads, width)."""
        if self.ulysses is not None:
            q, k, v = (exchanged(x, self.ulysses, HEADS, SEQUENCE) for x in (q, k, v))
        context = self._attend(*(x.transpose(SEQUENCE, HEADS) for x in (q, k, v))).transpose(SEQUENCE, HEADS)
        return context if self.ulysses is None else exchanged(context, self.ulysses, SEQUENCE, HEADS)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.ring is not None:
            return ring_attention(q, k, v, self.ring, zigzag=self.zigzag, fused=self.fused)
        if self.gathering is not None:
            return gathered_attention(q, k, v, self.gathering)
        return attend(q, k, v, causal=True, fused=self.fused, one_width=self.one_width)
