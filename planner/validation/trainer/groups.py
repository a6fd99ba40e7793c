"""Process groups and device meshes of every axis of a layout, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from planner.layouts.groups import GROUPED_AXES, group_array
from planner.layouts.layout import Layout
from planner.validation.processes.worker import JOIN_TIMEOUT_S
from planner.validation.trainer.settings import Settings

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

REPORTED_AXIS: Mapping[str, str] = {
    **{name: name for name in ("tp", "cp", "pp", "dp", "ep", "etp", "edp")},
    "ulysses": "cp",
    "ring": "cp",
    "kv_replicas": "tp",
    "ends": "pp",
    **dict.fromkeys(("dp_cp", "shard", "replicate"), "dp"),
    **dict.fromkeys(("expert_shard", "expert_replicate"), "edp"),
}
"""Group name -> the axis under which a prediction reports its traffic."""

DENSE_MESH = ("replicate", "shard", "tp")
EXPERT_MESH = ("expert_replicate", "expert_shard")


@dataclass(frozen=True)
class Members:
    """One rank's group of one axis: all its ranks in order, and the rank's place among them."""

    ranks: tuple[int, ...]
    index: int

    @property
    def size(self) -> int:
        return len(self.ranks)


def members(layout: Layout, rank: int, kv_heads: int = 0) -> dict[str, Members]:
    """The rank's group of every axis.

    Besides the axes of ``layouts.groups``: ``shard`` and ``replicate`` (dp x cp cut into shard groups of the
    largest size, and the ranks that hold the same shard), ``expert_shard`` and ``expert_replicate`` (the same along
    edp), ``kv_replicas`` (tp ranks with the same KV head), ``kv`` (one rank of each of these; no group of its own),
    ``ends`` (first and last pipeline rank).

    Args:
        kv_heads: of the model, 0 when there is nothing to replicate.
    """
    arrays = {axis: group_array(layout, axis) for axis in GROUPED_AXES}
    sharded = max(layout.shard.optimizer, layout.shard.gradients, layout.shard.parameters)
    arrays["shard"], arrays["replicate"] = _subgroups(arrays["dp_cp"], sharded)
    arrays["expert_shard"], arrays["expert_replicate"] = _subgroups(arrays["edp"], min(sharded, layout.edp))
    copies = layout.tp // kv_heads if 0 < kv_heads < layout.tp else 1
    arrays["kv_replicas"] = arrays["tp"].reshape(-1, copies)
    pipeline = arrays["pp"]
    arrays["ends"] = pipeline[:, [0, -1]] if layout.pp > 1 else pipeline
    found = {axis: _mine(array, rank) for axis, array in arrays.items()}
    whole = found["tp"]
    found["kv"] = Members(whole.ranks[::copies], whole.index // copies)
    return found


def _subgroups(groups: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Consecutive members of each group in parts of ``size``, and the ranks at the same place of the parts."""
    parts = groups.reshape(len(groups), -1, size)
    return parts.reshape(-1, size), parts.transpose(0, 2, 1).reshape(-1, parts.shape[1])


def _mine(groups: NDArray[np.int64], rank: int) -> Members:
    found = np.argwhere(groups == rank)
    if not len(found):
        return Members((rank,), 0)
    group, place = found[0]
    return Members(tuple(int(r) for r in groups[group]), int(place))


@dataclass(frozen=True)
class Groups:
    """The rank's place on every axis, the process groups of axes larger than one, and device meshes over them.

    Args:
        rank: global rank.
        axes: see ``members``.
        process_groups: by axis; an axis of one rank has none.
        meshes: one of the axes of ``DENSE_MESH`` that are larger than one, one of ``EXPERT_MESH``'s.
    """

    rank: int
    axes: Mapping[str, Members]
    process_groups: Mapping[str, ProcessGroup]
    meshes: tuple[DeviceMesh, ...] = ()

    def size(self, axis: str) -> int:
        """Ranks of this rank's group."""
        return self.axes[axis].size

    def index(self, axis: str) -> int:
        """Place of this rank in its group."""
        return self.axes[axis].index

    def ranks(self, axis: str) -> tuple[int, ...]:
        """Global ranks of this rank's group, in order of their places."""
        return self.axes[axis].ranks

    def group(self, axis: str) -> ProcessGroup | None:
        """The process group of an axis; None when the axis has one rank."""
        return self.process_groups.get(axis)

    def axis_of(self, group: ProcessGroup | str) -> str:
        """The axis under which a prediction reports what this group (or the group of that name) sends; else ``world``."""
        name = group if isinstance(group, str) else group.group_name
        for axis, known in self.process_groups.items():
            if known.group_name == name:
                return REPORTED_AXIS[axis]
        return "world"

    def mesh(self, *axes: str) -> DeviceMesh:
        """The device mesh of some axes of ``DENSE_MESH`` or of ``EXPERT_MESH``, all larger than one, in that order.

        Meshes of a family are slices of one root, as DTensor and fully_shard want them.
        """
        root = next(mesh for mesh in self.meshes if set(axes) <= set(mesh.mesh_dim_names or ()))
        return root if root.mesh_dim_names == axes else root[axes]


def single_process() -> Groups:
    """Groups of a run without ``torch.distributed``: one rank."""
    return Groups(0, {axis: Members((0,), 0) for axis in (*REPORTED_AXIS, "kv")}, {})


def make_groups(settings: Settings, rank: int) -> Groups:
    """All groups of this rank; every rank of the initialised default group must call it.

    Groups are made on any backend, the fake one included, axis after axis in the same order on every rank; only a
    group's own members take part.
    """
    if settings.world_size == 1:
        return single_process()
    wait = timedelta(seconds=JOIN_TIMEOUT_S)  # PyTorch's own for further groups is 30 minutes
    axes = members(settings.layout, rank, 0 if settings.model.mla is not None else settings.model.key_heads)
    made = {
        axis: dist.new_group(
            list(axes[axis].ranks), timeout=wait, use_local_synchronization=True, group_desc=axis
        )
        for axis in REPORTED_AXIS
        if axes[axis].size > 1
    }
    meshes = (
        _mesh(settings, DENSE_MESH, _grid(settings.layout, rank), axes, made),
        _mesh(settings, EXPERT_MESH, np.array(axes["edp"].ranks), axes, made),
    )
    return Groups(rank, axes, made, tuple(mesh for mesh in meshes if mesh is not None))


def _grid(layout: Layout, rank: int) -> NDArray[np.int64]:
    """(dp x cp, tp): the ranks of this rank's pipeline stage."""
    tp = group_array(layout, "tp")
    place = {int(member): group for group in range(len(tp)) for member in tp[group]}
    replicas = _mine(group_array(layout, "dp_cp"), rank).ranks
    return tp[[place[member] for member in replicas]]


def _mesh(
    settings: Settings,
    names: tuple[str, ...],
    ranks: NDArray[np.int64],
    axes: Mapping[str, Members],
    made: Mapping[str, ProcessGroup],
) -> DeviceMesh | None:
    """The mesh of those axes that are larger than one, over process groups that exist."""
    from torch.distributed.device_mesh import DeviceMesh

    kept = tuple(name for name in names if name in made)
    if not kept:
        return None
    grid = ranks.reshape([axes[name].size for name in kept])
    if len(kept) == 1:
        return DeviceMesh.from_group(made[kept[0]], settings.device, mesh_dim_names=kept)
    return DeviceMesh.from_group(
        [made[name] for name in kept], settings.device, mesh=grid.tolist(), mesh_dim_names=kept
    )
