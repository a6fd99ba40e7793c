"""Weight gradients that a schedule puts off: backward keeps what their products need, and nothing else.

As the zero-bubble schedules do it (arXiv 2401.10241, section 2; sail-sg/zero-bubble, ``WeightGradStore``): the pass of the
input gradient is a backward pass without the products of linear layers, so all else that was saved is let go there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn, no_grad
from torch.autograd import Function
from torch.nn import functional

from planner.validation.trainer.phases import phase


class PutOff:
    """The products of one stage that wait for its weight pass."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def add(self, parameter: nn.Parameter, gradient: Callable[[], Tensor]) -> None:
        """Make this gradient later."""
        self._waiting.append(lambda: _deliver(parameter, gradient()))

    def take(self) -> Callable[[], None]:
        """The weight pass of what has been added since the last call."""
        waiting, self._waiting = self._waiting, []

        def run() -> None:
            with phase("backward"), no_grad():
                while waiting:
                    waiting.pop(0)()

        return run


def _deliver(parameter: nn.Parameter, gradient: Tensor) -> None:
    """As autograd leaves a gradient at its parameter, hooks included, without its copy of one that somebody else holds."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    hooks: Any = getattr(parameter, "_post_accumulate_grad_hooks", None)
    for hook in (hooks or {}).values():
        hook(parameter)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, later: PutOff) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.parameters, ctx.later = (weight, bias), later
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        put_off_products(ctx.later, ctx.parameters, rows, lambda: x)
        return gradient @ weight, None, None, None


def put_off_products(
    later: PutOff, parameters: tuple[Any, Any], rows: Tensor, inputs: Callable[[], Tensor]
) -> None:
    """Add the gradients of a linear layer's weight and bias.

    Args:
        rows: gradient of its output, one row per token. inputs: gives what it was applied to.
    """
    weight, bias = parameters
    later.add(weight, lambda: rows.t() @ inputs().flatten(0, -2))
    if bias is not None:
        later.add(bias, lambda: rows.sum(0))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, later: PutOff | None) -> Tensor:
    """x W^T + b, whose weight gradients wait when there is where to put them."""
    if later is None:
        return functional.linear(x, weight, bias)
    function: Any = _Linear
    result: Tensor = function.apply(x, weight, bias, later)
    return result
