"""ATen functions on one rank's parts: as they are, or with the lengths, offsets and divisors that a split changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.models.operator_graph.calls import call
from planner.models.operator_graph.types import GraphOperator
from planner.validation.sharding.layout import Shares

if TYPE_CHECKING:
    from torch import Tensor

Local = Callable[..., Any]

_VIEWS = frozenset(
    f"aten.{name}"
    for name in ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
)
_EXPANSIONS = frozenset(f"aten.{name}" for name in ("expand", "expand_as", "broadcast_to"))


def called(operator: GraphOperator, tensors: Sequence[Tensor]) -> Any:
    """The operator's function on these tensors; several results as a tuple."""
    return call(operator.target, operator.arguments, operator.keywords, dict(enumerate(tensors)))


def local_function(shares: Shares) -> Local:
    """What a rank computes of an operator, from its parts of the inputs to its parts of the outputs.

    Raises:
        PlannerError: the operator is random, or PyTorch has no such function.
    """
    operator = shares.operator
    target = operator.target
    if target in ("aten.dropout", "aten.native_dropout") and operator.arguments[1] and operator.arguments[2]:
        raise PlannerError(
            f"{operator.name} drops values at random: runs cannot be compared; use eval() or p=0"
        )
    if target in _VIEWS:
        shape = shares.shape(operator.output_dims[0])
        return lambda x: x.reshape(shape)
    if target in _EXPANSIONS:
        shape = shares.shape(operator.output_dims[0])
        return lambda x, *_: x.expand(shape)
    special = _SPECIAL.get(target)
    if special is not None:
        return special(shares)
    return lambda *tensors: called(operator, tensors)


def _mean(shares: Shares) -> Local:
    """A rank averages its own part: the average of all is the sum of these over their number."""
    ranks = shares.summed()
    return lambda x: called(shares.operator, (x,)) / ranks


def _repeat_interleave(shares: Shares) -> Local:
    (times,) = shares.shape((("copy",),)) if "copy" in shares.operator.axes else (1,)
    dim = shares.operator.arguments[2]
    return lambda x: x.repeat_interleave(times, dim=dim)


def _embedding(shares: Shares) -> Local:
    """Rows that are another rank's give zeros."""
    if shares.parts("vocabulary") == 1:
        return lambda *tensors: called(shares.operator, tensors)

    def look_up(table: Tensor, ids: Tensor) -> Tensor:
        from torch.nn import functional

        own = ids - shares.place("vocabulary") * table.shape[0]
        inside = (own >= 0) & (own < table.shape[0])
        rows = functional.embedding(own.where(inside, 0), table)
        return rows * inside.unsqueeze(-1)

    return look_up


def _cross_entropy(shares: Shares) -> Local:
    from planner.validation.sharding.cross_entropy import vocabulary_cross_entropy

    arguments = shares.operator.arguments
    summed = len(arguments) > 3 and arguments[3] == 2
    ignored = int(str(arguments[4])) if len(arguments) > 4 else -100
    smoothing = arguments[5] if len(arguments) > 5 else 0.0
    if smoothing:
        return lambda *tensors: called(shares.operator, tensors) / (1 if summed else shares.parts("row"))
    rows = 1 if summed else shares.operator.axes.get("row", 1)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        if bool(target.eq(ignored).any()):
            raise PlannerError("targets hold ignored ones: shares of the average would differ; use others")
        return vocabulary_cross_entropy(logits, target, shares) / rows

    return loss


_SPECIAL: dict[str, Callable[[Shares], Local]] = {
    "aten.mean": _mean,
    "aten.repeat_interleave": _repeat_interleave,
    "aten.embedding": _embedding,
    "aten.cross_entropy_loss": _cross_entropy,
}
