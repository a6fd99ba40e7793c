"""Watches a program on fake tensors: FLOPs, collective calls and live bytes, operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from planner.validation.structure.calls import COLLECTIVES, CallCounter, wraps_tensors
from planner.validation.structure.live import LiveBytes
from planner.validation.trainer.phases import current_phase


class Tracer(CallCounter):  # type: ignore[no-untyped-call]
    """A dispatch mode that stands above a fake one.

    FLOPs are those of PyTorch's ``FlopCounterMode``: 2 m n k of a matmul, attention as the full square, its backward 2.5
    times as much.

    Args:
        fake: the mode whose tensors count.
        axis_of: name of a process group -> mesh axis.
    """

    def __init__(self, fake: FakeTensorMode, axis_of: Callable[[str], str]) -> None:
        super().__init__(axis_of)
        self.fake = fake
        self.live = LiveBytes(self._counts)
        self._looks = True
        self.flops: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def without_shapes(self) -> Iterator[None]:
        """Looks away inside while DTensor finds a result's shape by running an operator on whole, fake tensors: in the mode that
        is active, so they would count."""
        original = ShardingPropagator._propagate_tensor_meta_non_cached

        def unseen(propagator: ShardingPropagator, schema: Any) -> Any:
            before, self._looks = self._looks, False
            try:
                return original(propagator, schema)
            finally:
                self._looks = before

        ShardingPropagator._propagate_tensor_meta_non_cached = unseen  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            ShardingPropagator._propagate_tensor_meta_non_cached = original  # type: ignore[method-assign]

    def reset(self) -> None:
        """Forgets calls, FLOPs and the peak; what is alive stays known."""
        self.calls.clear()
        self.flops.clear()
        self.live.reset()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if wraps_tensors(types):
            return NotImplemented
        if not self._looks:
            return func(*args, **(kwargs or {}))
        if func is torch.ops._c10d_functional.wait_tensor.default:
            return args[0]  # its fake form makes a new tensor, which the real one does not
        result = func(*args, **(kwargs or {}))
        found = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if not any(self._counts(tensor) for tensor in (*found, *_tensors(args))):
            return result
        self.count(func, args, result)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            # products of more than two dimensions: attention that is written out
            kind = "attention" if "attention" in func.name() or func.name() == "aten::bmm" else "matmul"
            self.flops[kind, current_phase()] += formula(*args, **(kwargs or {}), out_val=result)
        name = func.name().partition("::")[2]
        gathers = COLLECTIVES.get(func.name().partition(".")[0]) == "all_gather"
        self.live.see(found, name, "gathered" if gathers else None)
        return result

    def _counts(self, tensor: torch.Tensor) -> bool:
        return isinstance(tensor, FakeTensor) and tensor.fake_mode is self.fake


def _tensors(args: Iterable[Any]) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor))
