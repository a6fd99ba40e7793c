"""Routes from one placement to another, one mesh dimension per step, and what they cost.

The steps are those of OneFlow's split / broadcast / partial algebra (arXiv 2110.15032, table 2) and of PyTorch's DTensor:
S -> R all-gather, P -> R all-reduce, P -> S reduce-scatter, S(i) -> S(j) all-to-all. R -> S is a view and R -> P, S -> P
fill a buffer with zeros on all ranks but one: neither communicates. A mesh dimension passes only through its source state,
its target state, and replicated; only where sums are wanted whole on two mesh dimensions one may scatter them, the other
add up the parts, and the first gather the result (fewer bytes cross the outer network). Mesh dimension 0 cuts first; so a
split of a tensor dimension by an outer mesh dimension can be made or undone only while no inner one splits the same
dimension. Of the legal orders the cheapest is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from planner.costs.collectives import Collective
from planner.solvers.sharding.placement import PARTIAL, REPLICATED, Booleans, Code, DeviceMesh, Floats, Ints

TIE = 1e-12
"""Relative difference below which the earlier, shorter order keeps its place."""

Turn = tuple[int, int | None]
"""A mesh dimension changes its state: to its target (None), or on the way there to another."""


@dataclass(frozen=True)
class Step:
    """One mesh dimension changes its state.

    Args:
        mesh_dim: that changes.
        before, after: placements of the whole tensor.
        collective: None where nothing is sent.
        bytes: the larger of one rank's buffers before and after, as nccl-tests counts; 0 without collective.
        seconds: predicted.
    """

    mesh_dim: int
    before: Code
    after: Code
    collective: Collective | None
    bytes: int
    seconds: float


def collective_between(before: int, after: int) -> Collective | None:
    """The collective of a change of state on one mesh dimension, None where nothing is sent."""
    if before in (after, REPLICATED) or after == PARTIAL:
        return None
    if before == PARTIAL:
        return "all_reduce" if after == REPLICATED else "reduce_scatter"
    return "all_gather" if after == REPLICATED else "all_to_all"


def orders(mesh_dims: int, tensor_dims: int) -> tuple[tuple[Turn, ...], ...]:
    """Every order in which mesh dimensions may turn, shorter ones first.

    Each turns directly or through replicated; or one scatters partial sums, and gathers when the other has turned.
    """
    found: list[tuple[Turn, ...]] = [()]
    for dim in range(mesh_dims):
        paths: list[tuple[Turn, ...]] = [((dim, None),), ((dim, REPLICATED), (dim, None))]
        found = [merged for done in found for path in paths for merged in _merges(done, path)]
    around = [
        ((dim, scattered), (1 - dim, None), (dim, None))
        for dim in range(mesh_dims if mesh_dims == 2 else 0)
        for scattered in range(tensor_dims)
    ]
    return tuple(sorted([*dict.fromkeys(found), *around], key=len))


def _merges(left: tuple[Turn, ...], right: tuple[Turn, ...]) -> Iterator[tuple[Turn, ...]]:
    """Both sequences as one, each in its own order."""
    if not left or not right:
        yield left + right
        return
    for rest in _merges(left[1:], right):
        yield (left[0], *rest)
    for rest in _merges(left, right[1:]):
        yield (right[0], *rest)


@dataclass(frozen=True, eq=False)
class Routes:
    """Costs of all routes of tensors of one shape.

    Args:
        mesh: ranks.
        shape: of the whole tensor.
        bytes: of the whole tensor.
        seconds: collective -> (mesh dimensions, 2 ** mesh dimensions): of a call along a mesh dimension whose whole
            buffer (of an all-to-all: that times the ranks) is the tensor cut by the mesh dimensions of the bit mask.
        fill_s: (2 ** mesh dimensions,): to write that buffer once.
    """

    mesh: DeviceMesh
    shape: tuple[int, ...]
    bytes: int
    seconds: dict[Collective, Floats]
    fill_s: Floats

    @cached_property
    def _orders(self) -> tuple[tuple[Turn, ...], ...]:
        return orders(len(self.mesh.shape), len(self.shape))

    @cached_property
    def _prices(self) -> Floats:
        """(mesh dimensions, kinds of states before, after, masks): split 0, replicated 1, partial 2, another split 3."""
        dims = len(self.mesh.shape)
        table = np.zeros((dims, 3, 4, 2**dims))
        table[:, 0, 1] = self.seconds["all_gather"]
        table[:, 0, 3] = self.seconds["all_to_all"]
        table[:, 2, 1] = self.seconds["all_reduce"]
        table[:, 2, 0] = table[:, 2, 3] = self.seconds["reduce_scatter"]
        table[:, :2, 2] = self.fill_s
        return table

    def costs(self, sources: Sequence[Code], targets: Sequence[Code]) -> Floats:
        """(sources, targets): seconds of the best route, infinite where there is none."""
        found: Floats = self._best[0][np.ix_(self._places(sources), self._places(targets))]
        return found

    def _places(self, codes: Sequence[Code]) -> Ints:
        """Rows of placements in the tables of all placements."""
        states = np.array(codes, dtype=np.int64).reshape(len(codes), len(self.mesh.shape)) - PARTIAL
        weights = (len(self.shape) - PARTIAL) ** np.arange(states.shape[1])[::-1]
        places: Ints = states @ weights
        return places

    @cached_property
    def _best(self) -> tuple[Floats, Ints]:
        """(placements, placements): seconds of the best order, and which it is, between all placements."""
        codes = np.array(list(product(range(PARTIAL, len(self.shape)), repeat=len(self.mesh.shape))))
        source, target = codes[:, None], codes[None]
        best = np.full((len(codes), len(codes)), np.inf)
        chosen = np.zeros(best.shape, dtype=np.int64)
        for number, order in enumerate(self._orders):
            seconds = self._along(order, source, target)
            better = seconds < best * (1 - TIE)
            best, chosen = np.where(better, seconds, best), np.where(better, number, chosen)
        return best, chosen

    def _along(self, order: tuple[Turn, ...], source: Ints, target: Ints) -> Floats:
        """Seconds of one order for all pairs, infinite where it is illegal."""
        pairs = np.broadcast_shapes(source.shape, target.shape)
        current = np.array(np.broadcast_to(source, pairs))
        total = np.zeros(pairs[:-1])
        for dim, way in order:
            before = current[..., dim].copy()
            after = (
                np.broadcast_to(target[..., dim], before.shape) if way is None else np.full_like(before, way)
            )
            if way is not None and way >= 0:
                summed = (source[..., dim] == PARTIAL) & (target[..., dim] == REPLICATED)
                total[~(summed & (source[..., 1 - dim] != target[..., 1 - dim]))] = np.inf
            mask = sum((((current[..., other] >= 0) & (other != dim)) << other) for other in self.mesh.dims)
            price = self._prices[
                dim, _kind(before), np.where((after >= 0) & (before >= 0), 3, _kind(after)), mask
            ]
            current[..., dim] = after
            moves = before != after
            total += np.where(moves, price, 0.0)
            total[moves & ~self._legal(current, before, dim)] = np.inf
        return total

    def _legal(self, current: Ints, before: Ints, dim: int) -> Booleans:
        """Whether the step to ``current`` on ``dim`` keeps the nesting of splits, and cuts into equal parts."""
        after = current[..., dim]
        inner = current[..., dim + 1 :]
        nested = ((inner >= 0) & ((inner == after[..., None]) | (inner == before[..., None]))).any(axis=-1)
        parts = np.where(current == after[..., None], np.array(self.mesh.shape), 1).prod(axis=-1)
        lengths = np.array([*self.shape, 1])[np.maximum(after, -1)]
        legal: Booleans = ~nested & ((after < 0) | (lengths % parts == 0))
        return legal

    def steps(self, source: Code, target: Code) -> tuple[Step, ...]:
        """The best route, steps that change nothing left out."""
        if source == target:
            return ()
        row, column = self._places([source, target])
        order = self._orders[int(self._best[1][row, column])]
        found: list[Step] = []
        current = source
        for dim, way in order:
            state = target[dim] if way is None else way
            if state == current[dim]:
                continue
            after = (*current[:dim], state, *current[dim + 1 :])
            found.append(self._step(dim, current, after))
            current = after
        return tuple(found)

    def _step(self, dim: int, before: Code, after: Code) -> Step:
        codes = np.array([[before], [after]])
        seconds = float(self._along(((dim, None),), codes[:1], codes[1:])[0, 0])
        alone = self.mesh.shape[dim] == 1
        collective = None if alone else collective_between(before[dim], after[dim])
        held = max(self.bytes // self.mesh.shards(code) for code in (before, after))
        return Step(dim, before, after, collective, held if collective else 0, seconds)


def _kind(states: Ints) -> Ints:
    """0 split, 1 replicated, 2 partial."""
    return np.maximum(-states, 0)
