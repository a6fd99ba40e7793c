"""Dense feed-forward network, plain or gated."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn
from torch.nn import functional

from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.fused import fused_gate
from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
}


class Activation(nn.Module):
    """The nonlinearity, times the second projection when there is one."""

    unit = "activation"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.function = FUNCTIONS[settings.model.activation]
        self.fused = settings.fuses("activation")

    def forward(self, gate: Tensor, up: Tensor | None = None) -> Tensor:
        """function(gate), or function(gate) x up."""
        if up is None:
            return self.function(gate)
        return fused_gate(self.function, gate, up) if self.fused else self.function(gate) * up


class Mlp(nn.Module):
    """Up (with gate), activation, down; the inner width is cut over tp.

    Args:
        width: inner width of the whole network.
        bias: both projections have one (default: as the model says).
    """

    unit = "mlp"

    def __init__(self, settings: Settings, groups: Groups, width: int, *, bias: bool | None = None) -> None:
        super().__init__()
        spec = settings.model
        self.tensor = tensor = tensor_parallel(settings, groups)
        biased = spec.biases in ("mlp", "all") if bias is None else bias
        inner = width // tensor.size
        names = ("gate", "up") if spec.gated_mlp else ("up",)
        for name in names:
            self.add_module(name, Linear(spec.hidden, inner, bias=biased, side="outputs"))
        self.wide = tuple(names)
        self.activation = Activation(settings)
        self.down = Linear(inner, spec.hidden, bias=biased, side="inputs")
        tensor.mark_row(self.down)

    def forward(self, x: Tensor) -> Tensor:
        """The branch's output for a normalised stream (batch, tokens, hidden)."""
        wide = self.tensor.columns(x, *(getattr(self, name) for name in self.wide))
        return self.tensor.row(self.activation(*wide), self.down)
