"""What one block costs: its passes, its weight gradients, its memory and its traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from planner.costs.saved import BlockMemory
from planner.costs.sizes import FloatArray
from planner.costs.transfers import Transfer

AXES = ("tp", "cp", "ep", "etp")


@dataclass(frozen=True)
class PassPrice:
    """One pass of one block and micro-batch, shape (rows,): parts of its time, and what overlaps.

    ``compute_s`` includes ``recompute_s`` and ``contention_s``. ``seconds`` = compute + exposed + host.
    """

    compute_s: FloatArray
    recompute_s: FloatArray
    contention_s: FloatArray
    exposed: Mapping[str, FloatArray]
    host_s: FloatArray
    hidden_s: FloatArray

    @property
    def spare_s(self) -> FloatArray:
        """Computation behind which nothing hides yet, and waiting for launches: transfers go on meanwhile."""
        return np.maximum(self.compute_s - self.hidden_s, 0.0) + self.host_s

    @property
    def seconds(self) -> FloatArray:
        """The whole pass."""
        total = self.compute_s + self.host_s
        for part in self.exposed.values():
            total = total + part
        return total


@dataclass(frozen=True)
class BlockPrice:
    """Everything that the step needs of one block under one recompute policy, shape (rows,) each.

    ``split``: the backward pass of schedules that put weight gradients off; its traffic hides behind input gradients only.
    """

    forward: PassPrice
    backward: PassPrice
    split: PassPrice
    weight_gradient_s: FloatArray
    forward_flops: FloatArray
    backward_flops: FloatArray
    recompute_flops: FloatArray
    step_exchange_s: FloatArray
    memory: BlockMemory
    transfers: tuple[Transfer, ...] = field(default=(), repr=False)
    repeated: tuple[bool, ...] = ()


def merged(count: int, parts: Sequence[tuple[np.ndarray, BlockPrice]]) -> BlockPrice:
    """Prices of disjoint row groups as one price over all rows; transfers are kept when there is one group only."""
    only = parts[0][1]
    if len(parts) == 1:
        return only

    def array(pick: str, owner: str | None = None) -> FloatArray:
        out = np.zeros(count)
        for rows, price in parts:
            out[rows] = getattr(getattr(price, owner) if owner else price, pick)
        return out

    def merged_pass(owner: str) -> PassPrice:
        names = ("compute_s", "recompute_s", "contention_s", "host_s", "hidden_s")
        arrays = {name: array(name, owner) for name in names}
        exposed: dict[str, FloatArray] = {}
        for axis in AXES:
            out = np.zeros(count)
            for rows, price in parts:
                out[rows] = getattr(price, owner).exposed[axis]
            exposed[axis] = out
        return PassPrice(exposed=exposed, **arrays)

    memory = BlockMemory(**{f.name: array(f.name, "memory") for f in fields(BlockMemory)})
    return BlockPrice(
        forward=merged_pass("forward"),
        backward=merged_pass("backward"),
        split=merged_pass("split"),
        weight_gradient_s=array("weight_gradient_s"),
        forward_flops=array("forward_flops"),
        backward_flops=array("backward_flops"),
        recompute_flops=array("recompute_flops"),
        step_exchange_s=array("step_exchange_s"),
        memory=memory,
    )
