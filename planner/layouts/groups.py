"""Which ranks form each group of each mesh axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.layouts.layout import Layout

ATTENTION_AXES = ("tp", "ulysses", "ring", "cp", "dp", "pp")
EXPERT_AXES = ("etp", "ep", "edp")
GROUPED_AXES = ("tp", "cp", "dp", "pp", "dp_cp", "ulysses", "ring", *EXPERT_AXES)

_ATTENTION_PARTS = {"dp_cp": ("dp", "cp"), "ulysses": ("cp",), "ring": ("cp",)}
"""Axes of the attention mesh that a group of another name lies along."""


def rank_groups(layout: Layout, devices: int) -> dict[str, list[list[int]]]:
    """Rank groups of every mesh axis of both meshes, each sorted by its place along the axis.

    Ranks are numbered with the first axis of ``axis_order`` innermost, as Megatron-LM's order string
    ``tp-cp-ep-dp-pp`` reads. In the expert mesh etp takes tp's place, edp takes dp's, and cp has none.

    Args:
        layout: its degrees must fill ``devices`` or fewer ranks.
        devices: ranks of the job; those beyond the layout's are idle and in no group.

    Returns:
        axis -> groups; ``cp`` is ulysses and ring together, ``dp_cp`` the ranks that hold the same dense weights.
    """
    used = layout.tp * layout.cp * layout.pp * layout.dp
    if used > devices:
        raise ValueError(f"the layout needs {used} ranks, there are {devices}")
    return {axis: group_array(layout, axis).tolist() for axis in GROUPED_AXES}


def group_array(layout: Layout, axis: str) -> NDArray[np.int64]:
    """(groups, members): the rank groups of one axis, as ``rank_groups`` numbers and orders them.

    Args:
        axis: one of ``GROUPED_AXES``.
    """
    if axis in EXPERT_AXES:
        return _expert_groups(layout, axis)
    degrees = {"tp": layout.tp, "cp": layout.cp, "dp": layout.dp, "pp": layout.pp}
    order = [name for name in layout.axis_order if name in degrees]
    places = sorted(order.index(name) for name in _ATTENTION_PARTS.get(axis, (axis,)))
    groups = _along(_mesh(order, degrees), tuple(places))
    if axis == "ulysses":
        return groups.reshape(-1, layout.ulysses)
    if axis == "ring":
        split = groups.reshape(-1, layout.ring, layout.ulysses)
        return split.transpose(0, 2, 1).reshape(-1, layout.ring)
    return groups


def _expert_groups(layout: Layout, axis: str) -> NDArray[np.int64]:
    degrees = {"etp": layout.etp, "ep": layout.ep, "edp": layout.edp, "pp": layout.pp}
    names = {"tp": "etp", "dp": "edp"}
    order = [names.get(name, name) for name in layout.axis_order if name != "cp"]
    return _along(_mesh(order, degrees), (order.index(axis),))


def _mesh(order: list[str], degrees: dict[str, int]) -> NDArray[np.int64]:
    """Rank numbers indexed by place along each axis of ``order`` (innermost first)."""
    outermost_first = [degrees[axis] for axis in reversed(order)]
    ranks = np.arange(int(np.prod(outermost_first)), dtype=np.int64).reshape(outermost_first)
    return ranks.transpose(*reversed(range(len(order))))


def _along(mesh: NDArray[np.int64], axes: tuple[int, ...]) -> NDArray[np.int64]:
    """Groups that vary over ``axes`` (the first one fastest), ordered by their first rank."""
    last = tuple(reversed(axes))
    rest = tuple(axis for axis in range(mesh.ndim) if axis not in axes)
    size = int(np.prod([mesh.shape[axis] for axis in axes]))
    groups = mesh.transpose(*rest, *last).reshape(-1, size)
    return groups[np.argsort(groups[:, 0], kind="stable")]
