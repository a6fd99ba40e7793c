"""What one level of the network offers a group: rates by traffic pattern and hops, by how the level is wired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.collectives.constants import CollectiveConstants
from planner.costs.collectives.types import Floats
from planner.hardware.types import NetworkLevel
from planner.layouts.mesh import Spread, domains_touched


@dataclass(frozen=True, eq=False)
class Reach:
    """Rates of one level, bytes/s per device and direction, each (rows,).

    Args:
        neighbour: by ring-like traffic, all rings together.
        uniform: by all-to-all traffic.
        flow: by one pair.
        hops: hops of one pass over the members of a domain.
    """

    neighbour: Floats
    uniform: Floats
    flow: Floats
    hops: Floats


def achieved_rate(level: NetworkLevel, constants: CollectiveConstants) -> float:
    """Bytes/s that one device gets into a level over all its links together, one direction."""
    return level.bandwidth * _achieved_fraction(level, constants)


def _achieved_fraction(level: NetworkLevel, constants: CollectiveConstants) -> float:
    fraction = level.efficiency * level.in_step_efficiency / level.oversubscription
    if level.fabric == "dragonfly":
        fraction *= constants.dragonfly_efficiency
    return fraction


def reach(
    level: NetworkLevel, index: int, inner: int, spread: Spread, constants: CollectiveConstants
) -> Reach:
    """What a level offers the members of each group that it joins.

    Args:
        level, index: the level and its place, 0 innermost.
        inner: devices in one domain of the level below.
    """
    fraction = _achieved_fraction(level, constants)
    if level.fabric in ("torus", "ring"):
        return _torus(level, fraction, inner, spread, index)
    members = spread.ranks_per_level[:, index]
    wire = level.bandwidth * fraction
    if level.fabric == "full_mesh":
        return _full_mesh(level, fraction, inner, members)
    flow = wire if level.per_flow_bandwidth is None else min(wire, level.per_flow_bandwidth * fraction)
    peers = np.maximum(members - 1, 1)
    return Reach(
        neighbour=np.full_like(members, flow),
        uniform=np.minimum(wire, peers * flow),
        flow=np.full_like(members, flow),
        hops=np.maximum(members - 1, 0),
    )


def _full_mesh(level: NetworkLevel, fraction: float, inner: int, members: Floats) -> Reach:
    """A group of n uses its n - 1 links to each other: a pair sees one (arXiv 2511.17127). One hop: all exchange directly."""
    links = max(level.size // inner - 1, 1)
    link = (
        level.bandwidth / links if level.per_flow_bandwidth is None else level.per_flow_bandwidth
    ) * fraction
    together = np.minimum(level.bandwidth * fraction, np.maximum(members - 1, 1) * link)
    return Reach(together, together, np.full_like(members, link), np.minimum(members - 1, 1))


def _torus(level: NetworkLevel, fraction: float, inner: int, spread: Spread, index: int) -> Reach:
    """Every dimension works at the same time; a closed ring sends both ways round (scaling-book, "How to think about TPUs").

    A mesh axis as long as a dimension lies on it, the next one behind it (``create_device_mesh`` of
    jax/experimental/mesh_utils.py gives mesh axes whole dimensions).

    All-to-all is bound by the links that cut a dimension in half: with S bytes per device a closed ring of n passes
    S n / 8 over each link, an open line S n / 4.
    """
    shape = level.shape if level.fabric == "torus" and level.shape is not None else (level.size // inner,)
    link = (
        level.bandwidth / (2 * len(shape)) if level.per_flow_bandwidth is None else level.per_flow_bandwidth
    ) * fraction
    neighbour, hops, worst = _along(level, shape, inner, spread, index)
    for length in sorted(set(shape[1:]) - {shape[0], 1}):
        rest = list(shape)
        rest.remove(length)
        whole = _along(level, (length, *rest), inner, spread, index)
        lies = ((spread.stride == inner) & (spread.size == length)) | (spread.stride == inner * length)
        neighbour, hops, worst = (
            np.where(lies, there, here) for there, here in zip(whole, (neighbour, hops, worst), strict=True)
        )
    neighbour = neighbour * link
    rows = len(spread.size)
    members = np.maximum(spread.ranks_per_level[:, index], 1)
    share = (members - 1) / members
    uniform = np.where(worst > 0, link * share / np.where(worst > 0, worst, 1), link)
    return Reach(
        np.maximum(neighbour, link / np.maximum(spread.stride, 1)), uniform, np.full(rows, link), hops
    )


def _along(
    level: NetworkLevel, shape: tuple[int, ...], inner: int, spread: Spread, index: int
) -> tuple[Floats, Floats, Floats]:
    """Of groups that fill the dimensions of a torus in the order of ``shape``: links in use, hops of one pass, and the passes
    of all-to-all over the worst cut."""
    outer = spread.domains[:, index - 1] if index else spread.size
    rows = len(spread.size)
    neighbour, hops, worst = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    extent = inner
    for position, length in enumerate(shape):
        below, extent = extent, extent * length
        last = position == len(shape) - 1
        touched = (
            spread.domains[:, index]
            if last
            else domains_touched(spread.size, spread.stride, extent, spread.devices)
        )
        n = outer / touched
        outer = touched
        apart = np.clip(spread.stride // below, 1, length)
        closed = level.wrap & (n * apart >= length) & (n > 2)
        spans = n > 1
        neighbour += np.where(spans, np.where(closed, 2, 1) / apart, 0)
        hops += np.where(spans, np.where(closed, np.floor(n / 2), n - 1) * apart, 0)
        cut = np.where(closed, np.floor(n * n / 4) / 2, np.floor(n / 2) * np.ceil(n / 2)) / n
        worst = np.maximum(worst, np.where(spans, cut * apart, 0))
    return neighbour, hops, worst
