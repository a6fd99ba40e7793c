"""Block prices of a whole set of layouts: computed once per distinct combination of knobs, looked up per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.costs.block import block_knobs, price_block, routes
from planner.costs.block_price import BlockPrice
from planner.costs.least import on_one_rank
from planner.costs.sizes import FloatArray
from planner.costs.views import EXPERT_KNOBS
from planner.jobs.types import Job
from planner.layouts.layout import Recompute
from planner.layouts.layouts import IntArray, Layouts

PLAIN = Recompute("none")

QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "forward_s": ("forward", "seconds"),
    "backward_s": ("backward", "seconds"),
    "weight_s": ("weight_gradient_s",),
    "forward_spare_s": ("forward", "spare_s"),
    "backward_spare_s": ("backward", "spare_s"),
    "split_backward_s": ("split", "seconds"),
    "split_backward_spare_s": ("split", "spare_s"),
    "step_exchange_s": ("step_exchange_s",),
    "saved": ("memory", "saved_bytes"),
    "again": ("memory", "again_bytes"),
    "moment": ("memory", "moment_bytes"),
    "logits": ("memory", "logits_bytes"),
    "stream": ("memory", "stream_bytes"),
    "dense": ("memory", "dense_parameters"),
    "expert": ("memory", "expert_parameters"),
}
"""Name -> path of attributes in a ``BlockPrice``."""


@dataclass(frozen=True)
class Prices:
    """Tables over (recompute policy, distinct combination of block knobs).

    Args:
        knobs: the columns that distinguish combinations.
        values: sorted distinct values of each knob.
        keys: packed combinations, ascending.
        policies: recompute policies; the last one is ``none``.
        tables: block name -> quantity -> (policies, columns) flattened row by row.
        blocks: block name -> one ``BlockPrice`` per policy, of the same columns.
        routed: blocks with routed experts. The others have one column for all combinations that differ in the experts' mesh
            only.
        places: whether a block is routed -> for every combination the column.
    """

    knobs: tuple[str, ...]
    values: tuple[IntArray, ...]
    keys: IntArray
    policies: tuple[Recompute, ...]
    tables: Mapping[str, Mapping[str, FloatArray]]
    blocks: Mapping[str, Sequence[BlockPrice]]
    routed: frozenset[str]
    places: Mapping[bool, IntArray]

    def rows(self, layouts: Layouts) -> PriceRows:
        """Where each row of ``layouts`` finds its prices."""
        position = np.searchsorted(self.keys, _pack(layouts, self.knobs, self.values))
        order = np.array([self.policies.index(policy) for policy in layouts.recompute], dtype=np.int64)
        return PriceRows(self, order[layouts.columns["recompute"]], position)


@dataclass(frozen=True)
class PriceRows:
    """Prices gathered for the rows of one ``Layouts``: under each row's recompute policy, or without recompute.

    Args:
        policy, position: (rows,), index of the row's policy, and of its combination of knobs.
    """

    prices: Prices
    policy: IntArray
    position: IntArray

    def take(self, rows: IntArray) -> PriceRows:
        """The same for a choice of rows."""
        return PriceRows(self.prices, self.policy[rows], self.position[rows])

    @cached_property
    def _found(self) -> dict[tuple[bool, bool], IntArray]:
        """Places in flattened tables: (routed, recomputed) -> (rows,)."""
        return {}

    def _index(self, block: str, *, recomputed: bool) -> IntArray:
        key = (block in self.prices.routed, recomputed)
        if key not in self._found:
            policies = self.prices.policies
            width = len(self.prices.tables[block]["saved"]) // len(policies)
            policy = self.policy if recomputed else len(policies) - 1
            self._found[key] = policy * width + self.columns(block)
        return self._found[key]

    def columns(self, block: str) -> IntArray:
        """Place of each row in the block's ``BlockPrice``, (rows,)."""
        return self.prices.places[block in self.prices.routed][self.position]

    def get(self, block: str, quantity: str, *, recomputed: bool) -> FloatArray:
        """One quantity of one block instance for every row."""
        return self.prices.tables[block][quantity][self._index(block, recomputed=recomputed)]

    def total(self, quantity: str, recomputed: Mapping[str, int], plain: Mapping[str, int]) -> FloatArray:
        """Sum of a quantity over the blocks that a rank owns."""
        total = np.zeros(len(self.position))
        for counts, flag in ((recomputed, True), (plain, False)):
            for block, count in counts.items():
                if count:
                    total = total + count * self.get(block, quantity, recomputed=flag)
        return total

    def largest(
        self, quantities: Sequence[str], recomputed: Mapping[str, int], plain: Mapping[str, int]
    ) -> FloatArray:
        """Largest sum of the named quantities over single blocks that a rank owns."""
        largest = np.zeros(len(self.position))
        for counts, flag in ((recomputed, True), (plain, False)):
            for block, count in counts.items():
                if count:
                    value = self.get(block, quantities[0], recomputed=flag)
                    for name in quantities[1:]:
                        value = value + self.get(block, name, recomputed=flag)
                    largest = np.maximum(largest, value)
        return largest


def price_model(job: Job, layouts: Layouts, *, least: bool = False, known: Prices | None = None) -> Prices:
    """Prices of every block of the job's model for all combinations that occur in ``layouts``.

    Args:
        least: the least over all meshes of the experts, whatever the rows' own.
        known: prices of rows of the same policies that cover these but for the experts' mesh: blocks without routed experts
            keep theirs.
    """
    knobs = tuple(name for name in block_knobs(layouts) if not least or name not in EXPERT_KNOBS)
    values = tuple(np.unique(layouts.columns[name]) for name in knobs)
    keys, first = np.unique(_pack(layouts, knobs, values), return_index=True)
    every = on_one_rank(layouts.take(first)) if least else layouts.take(first)
    policies = (*(p for p in layouts.recompute if p != PLAIN), PLAIN)
    chosen, places = every.unique([name for name in knobs if name not in EXPERT_KNOBS])
    rows = {True: every, False: every.take(chosen)}
    routed = frozenset(name for name, block in job.model.blocks.items() if routes(block))
    blocks: dict[str, Sequence[BlockPrice]] = {
        name: price_block(block, rows[name in routed], job, policies, least=least and name in routed)
        for name, block in job.model.blocks.items()
        if known is None or name in routed
    }
    tables: dict[str, Mapping[str, FloatArray]] = {name: _table(prices) for name, prices in blocks.items()}
    if known is not None:
        blocks, tables = {**known.blocks, **blocks}, {**known.tables, **tables}
        places = known.places[False][known.rows(every).position]
    columns = {True: np.arange(len(every)), False: places}
    return Prices(knobs, values, keys, policies, tables, blocks, routed, columns)


def _pack(layouts: Layouts, knobs: Sequence[str], values: Sequence[IntArray]) -> IntArray:
    key = np.zeros(len(layouts), dtype=np.int64)
    for name, known in zip(knobs, values, strict=True):
        key = key * len(known) + np.searchsorted(known, layouts.columns[name])
    return key


def _table(prices: Sequence[BlockPrice]) -> dict[str, FloatArray]:
    table: dict[str, FloatArray] = {}
    for quantity, path in QUANTITIES.items():
        rows = []
        for price in prices:
            value: object = price
            for attribute in path:
                value = getattr(value, attribute)
            rows.append(np.asarray(value, dtype=np.float64))
        table[quantity] = np.concatenate(rows)
    return table
