"""What communication and kernels cost on the devices of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.costs.collectives import Collective, collective_cost
from planner.costs.kernels import memory_bound_seconds
from planner.hardware.slicing import use_devices
from planner.hardware.types import Cluster
from planner.layouts.mesh import spread
from planner.solvers.sharding.placement import DeviceMesh, Floats
from planner.solvers.sharding.routes import Routes

MOVES: tuple[Collective, ...] = ("all_gather", "all_reduce", "reduce_scatter", "all_to_all")


@dataclass(frozen=True, eq=False)
class MeshHardware:
    """A mesh on the innermost devices of a cluster.

    Args:
        cluster: exactly the devices of the mesh.
        mesh: its last dimension lies on neighbouring devices.
    """

    cluster: Cluster
    mesh: DeviceMesh

    @cached_property
    def _cut(self) -> Floats:
        """(2 ** mesh dimensions,): into how many parts the mesh dimensions of a bit mask cut."""
        sizes = self.mesh.shape
        return np.array(
            [
                np.prod([size for dim, size in enumerate(sizes) if mask >> dim & 1], dtype=np.float64)
                for mask in range(2 ** len(sizes))
            ]
        )

    def collective_s(self, collective: Collective, mesh_dim: int, nbytes: Floats, dtype_bytes: int) -> Floats:
        """Seconds of calls along one mesh dimension; ``nbytes`` (rows,) as nccl-tests counts."""
        groups = spread(
            np.full(len(nbytes), self.mesh.shape[mesh_dim]),
            self.mesh.stride(mesh_dim),
            self.cluster,
            devices=self.mesh.devices,
        )
        return collective_cost(collective, nbytes, groups, self.cluster, dtype_bytes=dtype_bytes).seconds

    def routes(self, shape: tuple[int, ...], dtype_bytes: int) -> Routes:
        """Costs of all reshardings of a tensor."""
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype_bytes
        whole = nbytes / self._cut
        ranks = np.array(self.mesh.shape, dtype=np.float64)
        seconds = {
            move: np.stack(
                [
                    self.collective_s(
                        move, dim, whole / ranks[dim] if move == "all_to_all" else whole, dtype_bytes
                    )
                    for dim in self.mesh.dims
                ]
            )
            for move in MOVES
        }
        fill = memory_bound_seconds(whole, self.cluster.accelerator)
        return Routes(self.mesh, shape, nbytes, seconds, fill)


def mesh_hardware(cluster: Cluster, mesh: DeviceMesh) -> MeshHardware:
    """The mesh on as many devices of the cluster as it has ranks.

    Raises:
        PlannerError: the cluster has too few, or they are no whole nodes.
    """
    return MeshHardware(use_devices(cluster, mesh.devices, field="--mesh"), mesh)
