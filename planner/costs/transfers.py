"""The communication of one block and micro-batch, priced over arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.costs.collectives import DEVICE_INITIATED, CollectiveConstants, CollectiveCost, collective_cost
from planner.costs.low_precision import gathered_bytes
from planner.costs.sizes import BoolArray, FloatArray, Sizes, activation_bytes, local_parameter
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.mesh import Spread, mesh_strides, spread
from planner.layouts.sharding import Exchange
from planner.models.graph import Block

REPORT_AXIS: Mapping[str, str] = {"tp": "tp", "ulysses": "cp", "ring": "cp", "ep": "ep", "etp": "etp"}
"""Mesh axis -> the axis under which time is reported."""

_DEVICE_INITIATED = ("deepep", "hybridep")
"""Dispatchers whose kernels post their messages to the network themselves."""


@dataclass(frozen=True)
class Request:
    """One exchange of a block with its size, not priced yet; shape (rows,).

    ``inverse``: which of these rows each row of the block has; None: its own.
    """

    exchange: Exchange
    module: str
    degree: IntArray
    stride: IntArray
    nbytes: FloatArray
    calls: FloatArray
    inverse: IntArray | None = None

    def spread(self, values: FloatArray) -> FloatArray:
        """Values of these rows for every row of the block."""
        return values if self.inverse is None else values[self.inverse]


@dataclass(frozen=True)
class Transfer:
    """One exchange of a block with its size and price, shape (rows,).

    ``seconds`` is for all calls of one micro-batch (or of one step for ``optimizer`` exchanges).

    Args:
        request: what was priced. priced, reach: all that was priced with it; place: of each row there.
    """

    request: Request
    priced: CollectiveCost
    reach: Spread
    place: slice | IntArray

    @property
    def exchange(self) -> Exchange:
        return self.request.exchange

    @property
    def module(self) -> str:
        """Recompute unit of the exchange's owner."""
        return self.request.module

    @property
    def axis(self) -> str:
        """Under which its time is reported."""
        return REPORT_AXIS[self.exchange.axis]

    @property
    def ranks(self) -> FloatArray:
        return self.request.spread(self.request.degree.astype(np.float64))

    @property
    def nbytes(self) -> FloatArray:
        """Of one call."""
        return self.request.spread(self.request.nbytes)

    @cached_property
    def calls(self) -> FloatArray:
        return self.request.spread(self.request.calls)

    @cached_property
    def seconds(self) -> FloatArray:
        """Of all calls."""
        return self.priced.seconds[self.place] * self.calls

    @property
    def spread(self) -> Spread:
        return self.reach.take(self.place)

    @property
    def cost(self) -> CollectiveCost:
        """Of one call."""
        return self.priced.take(self.place)

    @cached_property
    def inside(self) -> BoolArray:
        """Rows whose group lies in one domain of the innermost level."""
        return np.asarray(self.reach.domains[self.place, 0] <= 1)


def strides_of(layouts: Layouts) -> Mapping[str, IntArray]:
    """Strides of all mesh axes for every row, following each row's axis order."""
    names = ("tp", "ulysses", "ring", "dp", "pp", "etp", "ep")
    degrees = {name: layouts.columns[name] for name in names} | {"edp": layouts.edp}
    result: dict[str, IntArray] = {}
    order_column = layouts.columns["axis_order"]
    for index, order in enumerate(layouts.axis_orders):
        rows = np.flatnonzero(order_column == index)
        if len(rows) == len(layouts):
            return mesh_strides(order, degrees)
        if not len(rows):
            continue
        strides = mesh_strides(order, {name: column[rows] for name, column in degrees.items()})
        for axis, values in strides.items():
            result.setdefault(axis, np.ones(len(layouts), dtype=np.int64))[rows] = values
    return result


def request_exchange(
    exchange: Exchange, module: str, block: Block, sizes: Sizes, strides: Mapping[str, IntArray]
) -> Request:
    """Bytes and calls of one exchange.

    Args:
        exchange: from ``sharding.derive``.
        module: recompute unit of its owner.
        sizes: local sizes of the rows.
        strides: of the mesh axes, see ``strides_of``.
    """
    degree = sizes.layouts.columns[exchange.axis]
    if exchange.replicas:
        heads = max(sizes.job.model.kv_heads or 1, 1)
        degree = np.maximum(degree // heads, 1)
    nbytes = exchange_bytes(exchange, block, sizes)
    return Request(exchange, module, degree, strides[exchange.axis], nbytes, _calls(exchange, degree))


def price_requests(requests: Sequence[Request], job: Job) -> list[Transfer]:
    """Seconds of exchanges, in their order; those of one collective are priced together."""
    alike: dict[tuple[str, CollectiveConstants | None], list[int]] = {}
    for place, request in enumerate(requests):
        itself = request.exchange.axis == "ep" and job.training.moe.dispatcher in _DEVICE_INITIATED
        key = (request.exchange.collective, DEVICE_INITIATED if itself else None)
        alike.setdefault(key, []).append(place)
    result: dict[int, Transfer] = {}
    for (_, constants), places in alike.items():
        result |= zip(places, _priced([requests[place] for place in places], constants, job), strict=True)
    return [result[place] for place in range(len(requests))]


def _priced(
    requests: Sequence[Request], constants: CollectiveConstants | None, job: Job
) -> Iterator[Transfer]:
    """Exchanges of the same collective."""
    together = spread(
        np.concatenate([request.degree for request in requests]),
        np.concatenate([request.stride for request in requests]),
        job.cluster,
    )
    nbytes = np.concatenate([request.nbytes for request in requests])
    every = collective_cost(
        requests[0].exchange.collective, nbytes, together, job.cluster, constants=constants
    )
    end = 0
    for request in requests:
        begin, end = end, end + len(request.degree)
        place = slice(begin, end) if request.inverse is None else begin + request.inverse
        yield Transfer(request, every, together, place)


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
    cast = gathered_bytes(exchange, block, sizes)
    for name in exchange.tensors:
        tensor = block.tensors[name]
        if exchange.per_token:
            axes = [a for a in tensor.axes if a.name in ("batch", "sequence", "sequence_kv")]
            total = total + sizes.local(axes, exchange.source) * 4.0
            continue
        sent = sizes.elements(tensor, exchange.source)
        got = sizes.elements(tensor, exchange.target)
        width = 4.0 if exchange.dtype == "fp32" else cast or sizes.element_bytes(tensor)
        total = total + np.maximum(sent, got) * width
    if exchange.axis == "ep" and exchange.collective != "all_to_all":
        return total * sizes.degrees["ep"]  # the tokens of all ranks; the stream itself is not cut over ep
    return total


def _calls(exchange: Exchange, degree: IntArray) -> FloatArray:
    hops = degree.astype(np.float64)
    if exchange.calls == "ring-1":
        return hops - 1.0
    return hops if exchange.calls == "ring" else np.ones(len(hops))
