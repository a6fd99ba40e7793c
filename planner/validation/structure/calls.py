"""Collective calls of a PyTorch program: what is called, on which group, with how many bytes, in which pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from planner.validation.trainer.phases import Phase, current_phase

COLLECTIVES: Mapping[str, str] = {
    "c10d::allreduce_": "all_reduce",
    "c10d::allreduce_coalesced_": "all_reduce",
    "c10d::_allgather_base_": "all_gather",
    "c10d::allgather_": "all_gather",
    "c10d::allgather_into_tensor_coalesced_": "all_gather",
    "c10d::_reduce_scatter_base_": "reduce_scatter",
    "c10d::reduce_scatter_": "reduce_scatter",
    "c10d::reduce_scatter_tensor_coalesced_": "reduce_scatter",
    "c10d::alltoall_base_": "all_to_all",
    "c10d::alltoall_": "all_to_all",
    "c10d::broadcast_": "broadcast",
    "c10d::send": "send_recv",
    "_c10d_functional::all_reduce": "all_reduce",
    "_c10d_functional::all_reduce_": "all_reduce",
    "_c10d_functional::all_gather_into_tensor": "all_gather",
    "_c10d_functional::all_gather_into_tensor_out": "all_gather",
    "_c10d_functional::reduce_scatter_tensor": "reduce_scatter",
    "_c10d_functional::reduce_scatter_tensor_out": "reduce_scatter",
    "_c10d_functional::all_to_all_single": "all_to_all",
    "_c10d_functional::broadcast": "broadcast",
    "_c10d_functional::broadcast_": "broadcast",
    "_c10d_functional::isend": "send_recv",
}
"""Operators that move data, by the name of what they do; receiving is counted at the sender."""


@dataclass(frozen=True, order=True)
class Call:
    """One kind of call; ``nbytes``: the larger of this rank's input and output."""

    collective: str
    axis: str
    pass_: Phase
    nbytes: int


class CallCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every collective that runs inside, of real and of fake tensors.

    Args:
        axis_of: name of a process group -> mesh axis.
    """

    def __init__(self, axis_of: Callable[[str], str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.axis_of = axis_of
        self.calls: Counter[Call] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if wraps_tensors(types):
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        self.count(func, args, result)
        return result

    def count(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        """Adds a call when ``func`` is a collective."""
        collective = COLLECTIVES.get(func.name().partition(".")[0])
        if collective is None:
            return
        given = largest_argument(args)
        nbytes = given if collective == "send_recv" else max(given, largest_argument((result,)))
        self.calls[Call(collective, self.axis_of(group_name(args)), current_phase(), nbytes)] += 1


def wraps_tensors(types: Iterable[type]) -> bool:
    """Whether an operator is called on a tensor subclass that will call it again on what it holds."""
    from torch.distributed._functional_collectives import AsyncCollectiveTensor
    from torch.distributed.tensor import DTensor

    return any(issubclass(kind, DTensor | AsyncCollectiveTensor) for kind in types)


def largest_argument(args: Iterable[Any]) -> int:
    """Bytes of the largest argument; a list of tensors is one buffer in pieces."""
    return max((_nbytes(value) for value in args), default=0)


def _nbytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(_nbytes(item) for item in value) if isinstance(value, list | tuple) else 0


def group_name(args: Iterable[Any]) -> str:
    """Name of the process group among a collective's arguments."""
    from torch.distributed import ProcessGroup

    names = []
    for value in args:
        if isinstance(value, torch.ScriptObject) and "ProcessGroup" in str(value._type()):
            return str(ProcessGroup.unbox(value).group_name)
        if isinstance(value, ProcessGroup):
            return str(value.group_name)
        if isinstance(value, str):
            names.append(value)
    return names[-1]
