"""Device meshes and placements: what each rank of a mesh holds of a tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

REPLICATED, PARTIAL = -1, -2
"""States on one mesh dimension besides a split: the number of the tensor dimension that is split."""

Code = tuple[int, ...]
"""Placement of a tensor: its state on every mesh dimension."""

Placements = tuple[str, ...]
"""The same for people, as PyTorch's DTensor counts: ``R`` (replicated), ``P`` (partial sums), ``S0`` (dimension 0 split)."""

MOST_MESH_DIMS = 2


@dataclass(frozen=True)
class DeviceMesh:
    """Ranks in a grid, row by row: the last dimension's groups are neighbours on the network.

    Args:
        shape: ranks along each dimension.
    """

    shape: tuple[int, ...]

    @property
    def devices(self) -> int:
        return math.prod(self.shape)

    @property
    def dims(self) -> range:
        """Numbers of the mesh dimensions."""
        return range(len(self.shape))

    @property
    def text(self) -> str:
        """As in flags: ``2x4``."""
        return "x".join(str(size) for size in self.shape)

    def stride(self, dim: int) -> int:
        """Distance between neighbours along a dimension, in ranks."""
        return math.prod(self.shape[dim + 1 :])

    def shards(self, states: Iterable[int]) -> int:
        """Into how many parts a tensor is cut whose states these are."""
        return math.prod(size for size, state in zip(self.shape, states, strict=True) if state >= 0)


def parse_mesh(text: str) -> DeviceMesh:
    """The mesh that ``8`` or ``2x4`` describes.

    Raises:
        PlannerError: it is no mesh of one or two dimensions.
    """
    if re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})?", text.strip()) is None:
        raise PlannerError(f"found '{text}'; accepted: N or NxM, for example 8 or 2x4", field="--mesh")
    return DeviceMesh(tuple(int(size) for size in text.strip().split("x")))


def placements(code: Code) -> Placements:
    """A placement in words."""
    return tuple({REPLICATED: "R", PARTIAL: "P"}.get(state, f"S{state}") for state in code)


def parse_placements(text: str, mesh: DeviceMesh, field: str) -> Code:
    """The placement that ``S0,R`` describes, one state per mesh dimension.

    Raises:
        PlannerError: another number of states, or a word that is no state.
    """
    words = [word.strip().upper() for word in text.split(",")]
    if len(words) != len(mesh.shape) or any(re.fullmatch(r"R|S\d", word) is None for word in words):
        raise PlannerError(
            f"found '{text}'; accepted: R or S<dimension> for each of the {len(mesh.shape)} mesh dimensions, "
            "separated by commas",
            field=field,
        )
    return tuple(REPLICATED if word == "R" else int(word[1:]) for word in words)


def dual(code: Code) -> Code:
    """Where the gradient of a tensor that was made so is wanted: splits stay, everything else whole."""
    return tuple(max(state, REPLICATED) for state in code)


def divides(shape: tuple[int, ...], code: Code, mesh: DeviceMesh) -> bool:
    """Whether every split of the placement cuts into equal parts."""
    for dim in {state for state in code if state >= 0}:
        parts = math.prod(size for size, state in zip(mesh.shape, code, strict=True) if state == dim)
        if dim >= len(shape) or shape[dim] % parts:
            return False
    return True


def storage_codes(shape: tuple[int, ...], mesh: DeviceMesh) -> tuple[Code, ...]:
    """Every placement without partial sums in which a tensor of this shape can lie, replicated first."""
    states = [REPLICATED, *range(len(shape))]
    found = product(states, repeat=len(mesh.shape))
    return tuple(code for code in found if divides(shape, code, mesh))
