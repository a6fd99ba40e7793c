"""The communication of one block and micro-batch, priced over arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.collectives import DEVICE_INITIATED, CollectiveCost, collective_cost
from planner.costs.sizes import FloatArray, Sizes, activation_bytes, local_parameter
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.mesh import Spread, mesh_strides, spread
from planner.layouts.sharding import Exchange
from planner.layouts.sharding.pattern import Pattern
from planner.models.graph import Block

REPORT_AXIS: Mapping[str, str] = {"tp": "tp", "ulysses": "cp", "ring": "cp", "ep": "ep", "etp": "etp"}
"""Mesh axis -> the axis under which time is reported."""

_DEVICE_INITIATED = ("deepep", "hybridep")
"""Dispatchers whose kernels post their messages to the network themselves."""


@dataclass(frozen=True)
class Transfer:
    """One exchange of a block with its size and price, shape (rows,).

    ``seconds`` is for all calls of one micro-batch (or of one step for ``optimizer`` exchanges).
    """

    exchange: Exchange
    module: str
    axis: str
    ranks: FloatArray
    nbytes: FloatArray
    calls: FloatArray
    seconds: FloatArray
    spread: Spread
    cost: CollectiveCost


def strides_of(layouts: Layouts) -> Mapping[str, IntArray]:
    """Strides of all mesh axes for every row, following each row's axis order."""
    names = ("tp", "ulysses", "ring", "dp", "pp", "etp", "ep")
    degrees = {name: layouts.columns[name] for name in names} | {"edp": layouts.edp}
    result: dict[str, IntArray] = {}
    order_column = layouts.columns["axis_order"]
    for index, order in enumerate(layouts.axis_orders):
        rows = np.flatnonzero(order_column == index)
        if not len(rows):
            continue
        strides = mesh_strides(order, {name: column[rows] for name, column in degrees.items()})
        for axis, values in strides.items():
            result.setdefault(axis, np.ones(len(layouts), dtype=np.int64))[rows] = values
    return result


def price_exchange(
    exchange: Exchange,
    module: str,
    block: Block,
    sizes: Sizes,
    strides: Mapping[str, IntArray],
    pattern: Pattern,
) -> Transfer:
    """Bytes, calls and seconds of one exchange.

    Args:
        exchange: from ``sharding.derive``.
        module: recompute unit of its owner.
        sizes: local sizes of the rows.
        strides: of the mesh axes, see ``strides_of``.
    """
    job: Job = sizes.job
    degree = sizes.layouts.columns[exchange.axis]
    if exchange.replicas:
        heads = max(job.model.kv_heads or 1, 1)
        degree = np.maximum(degree // heads, 1)
    nbytes = exchange_bytes(exchange, block, sizes)
    calls = _calls(exchange, degree)
    reach = spread(degree, strides[exchange.axis], job.cluster)
    posts_itself = exchange.axis == "ep" and job.training.moe.dispatcher in _DEVICE_INITIATED
    constants = DEVICE_INITIATED if posts_itself else None
    cost = collective_cost(exchange.collective, nbytes, reach, job.cluster, constants=constants)
    return Transfer(
        exchange=exchange,
        module=module,
        axis=REPORT_AXIS[exchange.axis],
        ranks=degree.astype(np.float64),
        nbytes=nbytes,
        calls=calls,
        seconds=cost.seconds * calls,
        spread=reach,
        cost=cost,
    )


def exchange_bytes(exchange: Exchange, block: Block, sizes: Sizes) -> FloatArray:
    """Size of one call: the larger of one rank's input and output buffer, shape (rows,)."""
    if exchange.tensors[0] in block.parameters:
        precision = sizes.job.training.precision
        law = sizes.job.framework.state_law(precision)
        width = law.gradients if exchange.pass_ == "optimizer" else activation_bytes(precision)
        weights = (block.parameters[name].axes for name in exchange.tensors)
        return (
            sum((local_parameter(axes, sizes.layouts) for axes in weights), np.zeros(len(sizes.layouts)))
            * width
        )
    total = np.zeros(len(sizes.layouts))
    for name in exchange.tensors:
        tensor = block.tensors[name]
        if exchange.per_token:
            axes = [a for a in tensor.axes if a.name in ("batch", "sequence", "sequence_kv")]
            total = total + sizes.local(axes, exchange.source) * 4.0
            continue
        sent = sizes.elements(tensor, exchange.source)
        got = sizes.elements(tensor, exchange.target)
        width = 4.0 if exchange.dtype == "fp32" else sizes.element_bytes(tensor)
        total = total + np.maximum(sent, got) * width
    if exchange.axis == "ep" and exchange.collective != "all_to_all":
        return total * sizes.degrees["ep"]  # the tokens of all ranks; the stream itself is not cut over ep
    return total


def _calls(exchange: Exchange, degree: IntArray) -> FloatArray:
    hops = degree.astype(np.float64)
    if exchange.calls == "ring-1":
        return hops - 1.0
    return hops if exchange.calls == "ring" else np.ones(len(hops))
