"""What the model asks of tensor parallelism; here for one rank, and for DTensor, which works on the modules from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear, Table
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.cross_entropy import LossKernel, cross_entropy, loss_kernel


class TensorParallel(Protocol):
    """How linear layers, tables and the loss run; the residual stream is (batch, tokens, hidden)."""

    @property
    def size(self) -> int:
        """Parts into which widths are cut while modules are built."""
        ...

    @property
    def axis(self) -> str | None:
        """``tp`` when ranks hold different heads of the same tokens."""
        ...

    @property
    def stream_axis(self) -> str | None:
        """``tp`` when the stream's tokens are cut over it (sequence parallelism)."""
        ...

    def kv(self, heads: int) -> tuple[str, int]:
        """The axis that cuts key/value heads, and how many of ``heads`` this rank holds."""
        ...

    def stream_part(self, places: Tensor) -> Tensor:
        """Those of the rank's tokens that the stream holds."""
        ...

    def mark_row(self, linear: Linear) -> None:
        """Note what is special about the gradients of a layer whose inputs are cut."""
        ...

    def columns(self, x: Tensor, *linears: Linear) -> tuple[Tensor, ...]:
        """Layers with cut outputs that read the same stream."""
        ...

    def shared(self, x: Tensor) -> Tensor:
        """Something without heads, made where the stream is, that every head's rank needs whole."""
        ...

    def row(self, x: Tensor, linear: Linear) -> Tensor:
        """A layer with cut inputs; its result is summed into the stream."""
        ...

    def lookup(self, tokens: Tensor, table: Table) -> Tensor:
        """Rows of a table whose rows are cut, as a stream."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of the cross entropies of the rank's tokens."""
        ...


@dataclass(frozen=True)
class Whole:
    """No tensor parallelism, or DTensor's, which replaces parameters and hooks into modules afterwards.

    Args:
        kernel: of the loss.
    """

    size: int = 1
    axis: str | None = None
    stream_axis: str | None = None
    kernel: LossKernel = "pytorch"

    def kv(self, heads: int) -> tuple[str, int]:
        """All heads."""
        return "tp", heads

    def stream_part(self, places: Tensor) -> Tensor:
        """All of them."""
        return places

    def mark_row(self, linear: Linear) -> None:
        """Nothing is special."""

    def columns(self, x: Tensor, *linears: Linear) -> tuple[Tensor, ...]:
        """Each layer by itself."""
        return tuple(linear(x) for linear in linears)

    def shared(self, x: Tensor) -> Tensor:
        """It is whole."""
        return x

    def row(self, x: Tensor, linear: Linear) -> Tensor:
        """The layer."""
        result: Tensor = linear(x)
        return result

    def lookup(self, tokens: Tensor, table: Table) -> Tensor:
        """The rows."""
        result: Tensor = table(tokens)
        return result

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """On whole logits."""
        return cross_entropy(logits, labels, self.kernel)


def tensor_parallel(settings: Settings, groups: Groups) -> TensorParallel:
    """The strategy of a run."""
    if settings.layout.tp == 1:
        return Whole(kernel=loss_kernel(settings))
    if settings.convention == "pytorch":
        from planner.validation.trainer.tensor.dtensor import dtensor_parallel

        return dtensor_parallel(settings, groups)
    from planner.validation.trainer.tensor.megatron import MegatronParallel

    return MegatronParallel(settings, groups)
