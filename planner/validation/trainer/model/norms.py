"""RMSNorm and LayerNorm over the last dimension."""

from __future__ import annotations

from torch import Tensor, nn

from planner.validation.trainer.model.fused import fused_rms_norm
from planner.validation.trainer.settings import Settings

EPSILON = 1e-5


class RmsNorm(nn.RMSNorm):
    """RMSNorm with a weight.

    Args:
        partial: axis over which the gradient of the weight is a partial sum after backward.
        fused: one kernel; else PyTorch's, which writes fp32 copies out on some devices.
    """

    unit = "norm"

    def __init__(self, width: int, partial: str | None = None, *, fused: bool = False) -> None:
        super().__init__(width, eps=EPSILON)
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial}
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """The normalised stream."""
        return fused_rms_norm(x, self.weight, EPSILON) if self.fused else super().forward(x)


class LayerNorm(nn.LayerNorm):
    """LayerNorm with a weight and, unless the model drops it, a bias; ``partial`` as in ``RmsNorm``."""

    unit = "norm"

    def __init__(self, width: int, bias: bool, partial: str | None = None) -> None:
        super().__init__(width, eps=EPSILON, bias=bias)
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial, "bias": partial}


def norm(settings: Settings, width: int, partial: str | None = None) -> nn.Module:
    """The model's norm.

    Args:
        width: of the last dimension.
        partial: axis over which ranks see different tokens (or heads), so that its gradient must be summed.
    """
    spec = settings.model
    if spec.norm == "layer":
        return LayerNorm(width, spec.norm_bias, partial)
    return RmsNorm(width, partial, fused=settings.fuses("norm"))
