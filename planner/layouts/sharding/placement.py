"""Placements of a tensor on the mesh and the collectives that lead from one to another.

On each mesh axis a tensor is sharded along one of its named axes, replicated, or partial (a sum still to be made).
``tokens`` stands for the sequence axis of whichever stream the tensor belongs to. The algebra is the split / broadcast /
partial one of OneFlow (arXiv 2110.15032) and of PyTorch's DTensor (Shard / Replicate / Partial).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Collective = Literal["all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"]
BlockAxis = Literal["tp", "ulysses", "ring", "ep", "etp"]
BLOCK_AXES: tuple[BlockAxis, ...] = ("tp", "etp", "ulysses", "ring", "ep")

PARTIAL = "partial"
TOKENS = "tokens"


@dataclass(frozen=True)
class Placement:
    """State on every mesh axis that is larger than one: an axis name (sharded) or ``partial``; absent: replicated."""

    states: tuple[tuple[BlockAxis, str], ...] = ()

    @staticmethod
    def of(states: Mapping[BlockAxis, str]) -> Placement:
        """The placement with these states (order does not matter)."""
        return Placement(tuple(sorted(states.items())))

    def on(self, axis: BlockAxis) -> str | None:
        """The state on one mesh axis; None when replicated."""
        return dict(self.states).get(axis)

    def with_state(self, axis: BlockAxis, state: str | None) -> Placement:
        """The same placement with another state on one mesh axis."""
        states = dict(self.states)
        states.pop(axis, None)
        if state is not None:
            states[axis] = state
        return Placement.of(states)

    def sharded_by(self, name: str) -> tuple[BlockAxis, ...]:
        """Mesh axes that shard the named tensor axis."""
        return tuple(axis for axis, state in self.states if state == name)

    def dual(self) -> Placement:
        """The placement in which the gradient of such a tensor is wanted: replicate <-> partial, shards stay."""
        return Placement.of({axis: state for axis, state in self.states if state != PARTIAL})


@dataclass(frozen=True)
class Step:
    """One collective on one mesh axis that moves a tensor from one placement to the next."""

    axis: BlockAxis
    collective: Collective
    source: Placement
    target: Placement


def conversion(source: Placement, target: Placement) -> tuple[Step, ...]:
    """The collectives from one placement to another, one mesh axis after the other.

    Slicing a replicated tensor is free. A replicated tensor never has to become partial: gradients are asked for in
    ``dual`` placements, which hold no partial state.
    """
    if source == target:
        return ()
    steps: list[Step] = []
    current = source
    for axis in BLOCK_AXES:
        have, want = current.on(axis), target.on(axis)
        if have == want:
            continue
        following = current.with_state(axis, want)
        collective = _collective(have, want)
        if collective is not None:
            steps.append(Step(axis, collective, current, following))
        current = following
    return tuple(steps)


def _collective(have: str | None, want: str | None) -> Collective | None:
    if have == PARTIAL:
        return "all_reduce" if want is None else "reduce_scatter"
    if have is None:
        return None
    return "all_gather" if want is None else "all_to_all"
