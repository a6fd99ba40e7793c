"""RMSNorm and LayerNorm over the last dimension."""

from __future__ import annotations

from torch import nn

from planner.models.spec import ModelSpec

EPSILON = 1e-5


class RmsNorm(nn.RMSNorm):
    """RMSNorm with a weight.

    Args:
        partial: axis over which the gradient of the weight is a partial sum after backward.
    """

    unit = "norm"

    def __init__(self, width: int, partial: str | None = None) -> None:
        super().__init__(width, eps=EPSILON)
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial}


class LayerNorm(nn.LayerNorm):
    """LayerNorm with a weight and, unless the model drops it, a bias; ``partial`` as in ``RmsNorm``."""

    unit = "norm"

    def __init__(self, width: int, bias: bool, partial: str | None = None) -> None:
        super().__init__(width, eps=EPSILON, bias=bias)
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial, "bias": partial}


def norm(spec: ModelSpec, width: int, partial: str | None = None) -> nn.Module:
    """The model's norm.

    Args:
        width: of the last dimension.
        partial: axis over which ranks see different tokens (or heads), so that its gradient must be summed.
    """
    if spec.norm == "layer":
        return LayerNorm(width, spec.norm_bias, partial)
    return RmsNorm(width, partial)
