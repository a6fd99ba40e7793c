"""Which ranks form each group of each mesh axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.layouts.layout import Layout

ATTENTION_AXES = ("tp", "ulysses", "ring", "cp", "dp", "pp")
EXPERT_AXES = ("etp", "ep", "edp")


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
    degrees = {"tp": layout.tp, "cp": layout.cp, "dp": layout.dp, "pp": layout.pp}
    order = [axis for axis in layout.axis_order if axis in degrees]
    mesh = _mesh(order, degrees)
    groups = {axis: _along(mesh, (order.index(axis),)) for axis in ("tp", "cp", "dp", "pp")}
    groups["dp_cp"] = _along(mesh, tuple(sorted((order.index("dp"), order.index("cp")))))
    cp = np.array(groups["cp"]).reshape(-1, layout.ring, layout.ulysses)
    groups["ulysses"] = cp.reshape(-1, layout.ulysses).tolist()
    groups["ring"] = cp.transpose(0, 2, 1).reshape(-1, layout.ring).tolist()
    groups |= _expert_groups(layout)
    return groups


def _expert_groups(layout: Layout) -> dict[str, list[list[int]]]:
    degrees = {"etp": layout.etp, "ep": layout.ep, "edp": layout.edp, "pp": layout.pp}
    names = {"tp": "etp", "dp": "edp"}
    order = [names.get(axis, axis) for axis in layout.axis_order if axis != "cp"]
    mesh = _mesh(order, degrees)
    return {axis: _along(mesh, (order.index(axis),)) for axis in EXPERT_AXES}


def _mesh(order: list[str], degrees: dict[str, int]) -> NDArray[np.int64]:
    """Rank numbers indexed by place along each axis of ``order`` (innermost first)."""
    outermost_first = [degrees[axis] for axis in reversed(order)]
    ranks = np.arange(int(np.prod(outermost_first)), dtype=np.int64).reshape(outermost_first)
    return ranks.transpose(*reversed(range(len(order))))


def _along(mesh: NDArray[np.int64], axes: tuple[int, ...]) -> list[list[int]]:
    """Groups that vary over ``axes`` (the first one fastest), ordered by their first rank."""
    last = tuple(reversed(axes))
    rest = tuple(axis for axis in range(mesh.ndim) if axis not in axes)
    size = int(np.prod([mesh.shape[axis] for axis in axes]))
    groups = mesh.transpose(*rest, *last).reshape(-1, size)
    return [[int(rank) for rank in group] for group in groups[np.argsort(groups[:, 0], kind="stable")]]
