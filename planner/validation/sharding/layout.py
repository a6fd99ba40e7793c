"""What a rank of a device mesh holds: placements in PyTorch's words, lengths and offsets of split axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.models.operator_graph.types import Dims, GraphOperator
from planner.solvers.sharding.plan import Choice

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor.placement_types import Placement


def torch_placements(states: Sequence[str]) -> tuple[Placement, ...]:
    """``("R", "P", "S1")`` as PyTorch's placements."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    named = {"R": Replicate(), "P": Partial()}
    return tuple(named[state] if state in named else Shard(int(state[1:])) for state in states)


def state_texts(placements: Sequence[Placement]) -> tuple[str, ...]:
    """The reverse of ``torch_placements``."""
    return tuple(
        f"S{placement.dim}" if hasattr(placement, "dim") else "P" if placement.is_partial() else "R"
        for placement in placements
    )


def local_part(tensor: Tensor, states: Sequence[str], mesh: DeviceMesh) -> Tensor:
    """This rank's part of a whole tensor; the first mesh dimension cuts first."""
    for mesh_dim, state in enumerate(states):
        if state.startswith("S"):
            parts = tensor.chunk(mesh.size(mesh_dim), dim=int(state[1:]))
            tensor = parts[mesh.get_local_rank(mesh_dim)]
    return tensor


def waited(tensor: Tensor) -> Tensor:
    """The result of a functional collective, when it is there."""
    from torch.distributed import _functional_collectives

    done: Tensor = _functional_collectives.wait_tensor(tensor)  # type: ignore[no-untyped-call]
    return done


@dataclass(frozen=True)
class Shares:
    """One rank's share of an operator's axes.

    Args:
        operator: whose axes.
        choice: how they are split.
        mesh: ranks.
    """

    operator: GraphOperator
    choice: Choice
    mesh: DeviceMesh

    def mesh_dims(self, axis: str) -> tuple[int, ...]:
        """Mesh dimensions that split an axis, the first cuts first."""
        return tuple(dim for dim, split in enumerate(self.choice.split) if split == axis)

    def parts(self, axis: str) -> int:
        """Into how many parts an axis is cut."""
        return math.prod(self.mesh.size(dim) for dim in self.mesh_dims(axis))

    def place(self, axis: str) -> int:
        """Which of these parts is this rank's."""
        place = 0
        for dim in self.mesh_dims(axis):
            place = place * self.mesh.size(dim) + self.mesh.get_local_rank(dim)
        return place

    def shape(self, dims: Dims) -> tuple[int, ...]:
        """Lengths of this rank's part of a tensor."""
        axes = self.operator.axes
        return tuple(math.prod(axes[axis] // self.parts(axis) for axis in dim) for dim in dims)

    def summed(self) -> int:
        """Ranks that share the sums of the first output: over split axes that it lacks."""
        kept = {axis for dim in self.operator.output_dims[0] for axis in dim}
        return math.prod(self.parts(axis) for axis in self.operator.axes if axis not in kept)
