"""A linear layer on a gathered sequence that keeps only the rank's part of it for backward.

Megatron-LM's sequence parallelism (arXiv 2205.05198, section 4.2.2): the input is gathered again for the weight gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup

from planner.validation.trainer.exchange import gather
from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.put_off import PutOff, put_off_products

SEQUENCE = 1


class Regathered:
    """The sequence that several layers read, gathered once in backward for all of them.

    Args:
        uses: weight gradients that will ask for it; after the last the gathered copy is dropped.
    """

    def __init__(self, group: ProcessGroup, uses: int) -> None:
        self.group, self.uses = group, uses
        self._asked = 0
        self._whole: Tensor | None = None

    def whole(self, x: Tensor) -> Tensor:
        """The gathered form of the rank's part ``x``."""
        if self._whole is None:
            self._whole = gather(x, self.group, SEQUENCE)
        whole = self._whole
        self._asked += 1
        if self._asked == self.uses:
            self._whole, self._asked = None, 0
        return whole


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any,
        whole: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        shared: Regathered,
        later: PutOff | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shared, ctx.parameters, ctx.later = shared, (weight, bias), later
        return torch.nn.functional.linear(whole, weight, bias)

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        rows, shared = gradient.flatten(0, -2), ctx.shared
        if ctx.later is not None:
            put_off_products(ctx.later, ctx.parameters, rows, lambda: shared.whole(x))
            return gradient @ weight, None, None, None, None, None
        of_input, of_weight = (_wanted(ctx, place) for place in (0, 2))
        grad_input = gradient @ weight if of_input else None
        grad_weight = grad_bias = None
        if of_weight:
            grad_weight = rows.t() @ shared.whole(x).flatten(0, -2)
            grad_bias = None if ctx.parameters[1] is None else rows.sum(0)
        return grad_input, None, grad_weight, grad_bias, None, None


def _wanted(ctx: Any, place: int) -> bool:
    """Whether this backward pass needs the gradient of an input: a pipeline may ask for inputs and weights apart."""
    node = ctx.next_functions[place][0]
    return node is not None and bool(torch._C._will_engine_execute_node(node))


def regathering_linear(whole: Tensor, x: Tensor, linear: Linear, shared: Regathered) -> Tensor:
    """``linear`` of ``whole``, which is the gathered form of ``x``; only ``x`` is kept."""
    function: Any = _Linear
    result: Tensor = function.apply(whole, x.detach(), linear.weight, linear.bias, shared, linear.later)
    return result
