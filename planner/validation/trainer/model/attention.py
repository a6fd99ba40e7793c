"""Softmax attention with any number of key/value heads."""

from __future__ import annotations

from torch import Tensor, nn

from planner.models.spec import ModelSpec
from planner.validation.trainer.context.core import CoreAttention
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.norms import norm
from planner.validation.trainer.model.positions import rotate
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel


class Attention(nn.Module):
    """Projections, position encoding, attention over the whole sequence, output projection."""

    unit = "attention"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        spec = settings.model
        self.tensor = tensor = tensor_parallel(settings, groups)
        self.width = width = spec.head_width
        self.rope = spec.positions == "rope"
        bias = spec.biases in ("qkv", "attention", "all")
        kv_axis, kv_heads = tensor.kv(spec.key_heads)
        copied = "kv_replicas" if groups.size("kv_replicas") > 1 and tensor.size > 1 else None
        self.q = Linear(spec.hidden, spec.query_heads // tensor.size * width, bias=bias, side="outputs")
        self.k, self.v = (
            Linear(spec.hidden, kv_heads * width, bias=bias, side="outputs", axis=kv_axis, partial=copied)
            for _ in range(2)
        )
        if spec.qk_norm == "head_dim":
            self.q_norm = norm(settings, width, tensor.axis)
            self.k_norm = norm(settings, width, tensor.axis)
        self.normalised = spec.qk_norm == "head_dim"
        self.core = CoreAttention(settings, groups)
        self.out = Linear(
            spec.query_heads // tensor.size * width, spec.hidden, bias=_output_bias(spec), side="inputs"
        )
        tensor.mark_row(self.out)

    def forward(self, x: Tensor, table: Tensor | None) -> Tensor:
        """The branch's output for a normalised stream (batch, tokens, hidden)."""
        q, k, v = (
            part.view(*part.shape[:-1], -1, self.width)
            for part in self.tensor.columns(x, self.q, self.k, self.v)
        )
        if self.normalised:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope and table is not None:
            q, k = rotate(q, table), rotate(k, table)
        context: Tensor = self.core(q, k, v)
        return self.tensor.row(context.flatten(2), self.out)


def _output_bias(spec: ModelSpec) -> bool:
    return spec.biases in ("attention", "all")
