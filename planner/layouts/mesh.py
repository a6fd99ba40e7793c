"""Mesh axes over ranks, and how an axis spreads over the levels of a network.

A mesh axis is (size, stride): the ranks ``first, first + stride, ..., first + (size - 1) * stride`` form one group.
Several meshes lie over the same ranks (attention mesh, expert mesh), so an axis never needs to know its siblings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.errors import PlannerError, suggest
from planner.hardware.types import Cluster
from planner.layouts.layout import DEFAULT_AXIS_ORDER
from planner.layouts.layouts import distinct_rows

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """How the worst group of an axis lies on the network, one row per axis.

    Args:
        size, stride: (rows,), the axis itself.
        devices: ranks of the mesh.
        domains: (rows, levels), domains of each level that the worst group touches, innermost level first.
    """

    size: Integers
    stride: Integers
    devices: int
    domains: Integers

    def take(self, rows: slice | Integers) -> Spread:
        """Some of the rows."""
        return Spread(self.size[rows], self.stride[rows], self.devices, self.domains[rows])

    @cached_property
    def ranks_per_level(self) -> Floats:
        """(rows, levels): members that share a domain of each level, counted in domains of the level below.

        The product over the levels is ``size``.
        """
        inner = np.concatenate([self.size[:, None], self.domains[:, :-1]], axis=1)
        return inner / self.domains


def spread(size: ArrayLike, stride: ArrayLike, cluster: Cluster, *, devices: int | None = None) -> Spread:
    """The spread of axes over the network levels of a cluster.

    Args:
        size, stride: (rows,), or scalars.
        devices: ranks of the mesh (default: all devices of the cluster). ``size * stride`` gives the first group alone.

    Raises:
        PlannerError: an axis does not fit on the devices.
    """
    devices = cluster.devices if devices is None else devices
    sizes, strides = np.broadcast_arrays(np.atleast_1d(size), np.atleast_1d(stride))
    sizes, strides = sizes.astype(np.int64), strides.astype(np.int64)
    bad = (sizes < 1) | (strides < 1) | (sizes * strides > devices)
    if bad.any():
        row = int(np.argmax(bad))
        raise PlannerError(
            f"a mesh axis of size {sizes[row]} and stride {strides[row]} does not fit on {devices} devices; "
            "size x stride must lie between 1 and the devices"
        )
    first, rows = distinct_rows((sizes, strides), len(sizes))
    touched = np.stack(
        [domains_touched(sizes[first], strides[first], level.size, devices) for level in cluster.network],
        axis=1,
    )
    return Spread(size=sizes, stride=strides, devices=devices, domains=touched[rows])


def domains_touched(size: Integers, stride: Integers, domain: int, devices: int) -> Integers:
    """How many domains of ``domain`` consecutive ranks the worst group of each axis touches, exactly.

    Members closer than a domain touch a contiguous run of domains, and the run is longest for the group that starts
    latest within its domain. Starts are ``block * size * stride + offset`` with ``offset < stride``; modulo the domain
    the blocks reach every multiple of ``gcd(size * stride, domain)`` when whole blocks and whole domains tile the devices.

    Args:
        size, stride: (rows,).
        domain: devices of one domain.
        devices: ranks of the mesh.
    """
    if domain >= devices:
        return np.ones_like(size)
    block = size * stride
    step = np.gcd(block, domain)
    latest = np.where(stride >= step, domain - 1, domain - step + stride - 1)
    ragged = (devices % block != 0) | (devices % domain != 0)
    for row in np.flatnonzero(ragged & (stride < domain)):
        latest[row] = _latest_start(int(block[row]), int(stride[row]), domain, devices)
    contiguous = (latest + (size - 1) * stride) // domain + 1
    return np.where(stride >= domain, size, contiguous)


def _latest_start(block: int, stride: int, domain: int, devices: int) -> int:
    """The largest start of a group within a domain when blocks or domains do not tile the devices."""
    blocks = min(devices // block, domain // int(np.gcd(block, domain)))
    first = np.arange(blocks, dtype=np.int64) * block % domain
    return int(np.minimum(first + stride - 1, domain - 1).max())


def axis_groups(size: int, stride: int, devices: int) -> list[list[int]]:
    """All rank groups of one axis, ordered by their first rank.

    Raises:
        PlannerError: blocks of ``size * stride`` ranks do not tile the devices.
    """
    block = size * stride
    if size < 1 or stride < 1 or devices % block != 0:
        raise PlannerError(f"groups of size {size} and stride {stride} do not tile {devices} devices")
    return [
        list(range(first + offset, first + block, stride))
        for first in range(0, devices, block)
        for offset in range(stride)
    ]


def level_of(size: ArrayLike, stride: ArrayLike, cluster: Cluster) -> Integers:
    """(rows,): index of the innermost network level whose domains hold every group of the axis whole."""
    whole = spread(size, stride, cluster).domains == 1
    return np.asarray(np.argmax(whole, axis=1), dtype=np.int64)


def mesh_strides(order: Sequence[str], degrees: Mapping[str, ArrayLike]) -> dict[str, Integers]:
    """Strides of the axes of the attention mesh and of the expert mesh.

    The attention mesh nests tp, cp (ulysses inside, ring outside), dp and pp; the expert mesh lies on the same ranks with
    etp in the place of tp, ep where ``order`` has it, and edp in the place of dp (MoE Parallel Folding, arXiv 2504.14960).

    Args:
        order: innermost first, a permutation of ``DEFAULT_AXIS_ORDER`` (without ``ep``: just inside dp).
        degrees: (rows,) or scalars, by axis: tp, dp, pp, and cp or ulysses and ring; optionally etp (default: tp),
            ep (1), edp (what is left).

    Returns:
        By axis (tp, cp, ulysses, ring, dp, pp, etp, ep, edp), each (rows,).

    Raises:
        PlannerError: the order names an unknown axis, or not every axis once.
    """
    attention, expert = _orders(order)
    known = _degrees(degrees)
    strides = {**_nested(expert, known), **_nested(attention, known)}
    strides["ulysses"] = strides["cp"]
    strides["ring"] = strides["cp"] * known["ulysses"]
    rows = np.broadcast(*strides.values(), *known.values()).shape
    return {
        axis: value if value.shape == rows else np.broadcast_to(value, rows)
        for axis, value in strides.items()
    }


def meshes_agree(order: Sequence[str], degrees: Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
    """(rows,): whether both meshes hold the same ranks and give every rank the same pipeline stage.

    They do when tp·cp·dp = etp·ep·edp, and when the axes inside pp hold equally many ranks in both meshes.
    """
    attention, expert = _orders(order)
    known = _degrees(degrees)
    inside = _product(known, attention[: attention.index("pp")]) == _product(
        known, expert[: expert.index("pp")]
    )
    agree: NDArray[np.bool_] = inside & (_product(known, attention) == _product(known, expert))
    return agree


def _orders(order: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nesting of the attention mesh and of the expert mesh."""
    for axis in order:
        if axis not in DEFAULT_AXIS_ORDER:
            raise PlannerError(
                f"unknown mesh axis '{axis}': {suggest(axis, DEFAULT_AXIS_ORDER)}", field="axis_order"
            )
    if len(set(order)) != len(order) or {*order, "ep"} != set(DEFAULT_AXIS_ORDER):
        found, wanted = " ".join(order), " ".join(DEFAULT_AXIS_ORDER)
        raise PlannerError(f"found {found}; each of {wanted} must stand once", field="axis_order")
    full = tuple(order)
    if "ep" not in full:
        place = full.index("dp")
        full = (*full[:place], "ep", *full[place:])
    renamed = {"tp": "etp", "dp": "edp"}
    return tuple(axis for axis in full if axis != "ep"), tuple(
        renamed.get(axis, axis) for axis in full if axis != "cp"
    )


def _degrees(degrees: Mapping[str, ArrayLike]) -> dict[str, Integers]:
    known = {name: np.atleast_1d(value).astype(np.int64) for name, value in degrees.items()}
    one = np.ones(1, dtype=np.int64)
    known.setdefault("ulysses", one)
    known.setdefault("cp", known["ulysses"] * known.get("ring", one))
    known.setdefault("ep", one)
    known.setdefault("etp", known["tp"])
    known.setdefault("edp", known["tp"] * known["cp"] * known["dp"] // (known["etp"] * known["ep"]))
    return known


def _nested(order: Sequence[str], degrees: Mapping[str, Integers]) -> dict[str, Integers]:
    strides: dict[str, Integers] = {}
    inside = np.ones(1, dtype=np.int64)
    for axis in order:
        strides[axis] = inside
        inside = inside * degrees[axis]
    return strides


def _product(degrees: Mapping[str, Integers], axes: Sequence[str]) -> Integers:
    result = np.ones(1, dtype=np.int64)
    for axis in axes:
        result = result * degrees[axis]
    return result
