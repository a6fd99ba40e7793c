"""Rows of a block that differ in what one of its operators or exchanges depends on, so that each is priced once.

The rows of a block with routed experts differ in the experts' mesh, which most of its operators never see; the others see of
the rest of the mesh only how many ranks share the tokens. Docs: docs/search.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from planner.costs.operator_cost import OperatorCost
from planner.costs.sizes import Sizes
from planner.costs.transfers import Request
from planner.layouts.layouts import IntArray, distinct_rows
from planner.layouts.sharding import Exchange
from planner.layouts.sharding.rules import PARAMETER_AXES
from planner.models.graph import Block, Operator

EXPERT_KNOBS = ("ep", "etp")
"""Knobs that matter to blocks with routed experts only."""

ROUTED_AXES = frozenset({"expert_tokens", "experts", "expert_ffn"})
"""Tensor axes of what the experts' mesh cuts."""

_FEW_ROWS = 1 << 9
"""Below it all rows are priced: to tell them apart would take longer."""


@dataclass(frozen=True)
class View:
    """Rows of which ``first`` are the first of their kind, and ``inverse`` is the kind of each row; None: all differ."""

    sizes: Sizes
    strides: Mapping[str, IntArray]
    inverse: IntArray | None = None

    @staticmethod
    def of(sizes: Sizes, strides: Mapping[str, IntArray], columns: Sequence[IntArray]) -> View:
        """Rows that differ in these columns."""
        first, inverse = distinct_rows(columns, len(sizes.layouts))
        few = {axis: values[first] for axis, values in strides.items()}
        return View(replace(sizes, layouts=sizes.layouts.take(first)), few, inverse)

    def cost(self, price: Callable[[Sizes], OperatorCost]) -> OperatorCost:
        """The cost of an operator for every row."""
        found = price(self.sizes)
        if self.inverse is None:
            return found
        return OperatorCost(*(getattr(found, item.name)[self.inverse] for item in fields(OperatorCost)))

    def request(self, ask: Callable[[Sizes, Mapping[str, IntArray]], Request]) -> Request:
        """An exchange, to be spread over every row when it has its price."""
        return replace(ask(self.sizes, self.strides), inverse=self.inverse)


@dataclass(frozen=True)
class Views:
    """What parts of a block depend on: all of the mesh, all but the experts', or the experts' and the tokens of a rank."""

    every: View
    dense: View
    routed: View

    @staticmethod
    def of(sizes: Sizes, strides: Mapping[str, IntArray], knobs: Sequence[str], *, routes: bool) -> Views:
        """Views of some rows of a block.

        Args:
            knobs: that the price of a block depends on. routes: whether it has routed experts.
        """
        every = View(sizes, strides)
        if not routes or len(sizes.layouts) < _FEW_ROWS:
            return Views(every, every, every)
        c = sizes.layouts.columns
        shared = c["ulysses"] * c["ring"] * np.where(c["sp"] > 0, c["tp"], 1)
        seen = [c["micro_batch"], shared, *(c[name] for name in EXPERT_KNOBS)]
        seen += [strides[name] for name in EXPERT_KNOBS]
        others = [c[name] for name in knobs if name not in EXPERT_KNOBS]
        return Views(every, View.of(sizes, strides, others), View.of(sizes, strides, seen))

    def of_operator(self, operator: Operator, block: Block) -> View:
        """The view that decides an operator's cost."""
        arrays = (block.tensors.get(name) for name in (*operator.inputs, operator.output))
        names = {axis for array in arrays if array is not None for axis in array.axis_names}
        return self._seeing(
            names | {axis for name in operator.parameters for axis in block.parameters[name].axis_names}
        )

    def of_exchange(self, exchange: Exchange, block: Block) -> View:
        """The view that decides an exchange's size and group."""
        arrays = (block.tensors.get(name) or block.parameters[name] for name in exchange.tensors)
        names = {axis for array in arrays for axis in array.axis_names}
        if exchange.axis in EXPERT_KNOBS:
            return self._seeing(names | ROUTED_AXES)
        return self.every if names & ROUTED_AXES else self.dense

    def _seeing(self, axes: Iterable[str]) -> View:
        if not ROUTED_AXES & set(axes):
            return self.dense
        return self.every if any(PARAMETER_AXES.get(axis) == "tp" for axis in axes) else self.routed
