"""Linear layers and tables that know how tensor parallelism cuts them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from planner.validation.trainer.cuts import Cuts
from planner.validation.trainer.model.put_off import PutOff, linear

CutSide = Literal["outputs", "inputs"]


class Linear(nn.Linear):
    """y = x W^T + b with W of shape (outputs, inputs).

    Args:
        inputs, outputs: of this rank.
        side: which of them is cut over ``axis``; None when every rank holds all of it.
        partial: axis over which the gradients of weight and bias are partial sums after backward.

    ``later``, set by a pipeline, takes its weight gradients.
    """

    later: PutOff | None = None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool,
        side: CutSide | None = None,
        axis: str = "tp",
        partial: str | None = None,
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.cuts: dict[str, Cuts] = {}
        self.partial: dict[str, str] = {}
        if side == "outputs":
            self.cuts = {"weight": ((axis, 0),), "bias": ((axis, 0),)}
        elif side == "inputs":
            self.cuts = {"weight": ((axis, 1),)}
        if partial is not None:
            self.partial = {"weight": partial, "bias": partial}

    def forward(self, x: Tensor) -> Tensor:
        """With the bias."""
        return linear(x, self.weight, self.bias, self.later)

    def product(self, x: Tensor) -> Tensor:
        """Without the bias."""
        return linear(x, self.weight, None, self.later)


class Table(nn.Embedding):
    """Rows by number.

    Args:
        rows, width: of this rank.
        axis: over which the rows are cut; None when every rank holds all of them.
        partial: axis over which the gradient is a partial sum after backward.
    """

    def __init__(self, rows: int, width: int, *, axis: str | None = None, partial: str | None = None) -> None:
        super().__init__(rows, width)
        self.cuts: dict[str, Cuts] = {} if axis is None else {"weight": ((axis, 0),)}
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial}
