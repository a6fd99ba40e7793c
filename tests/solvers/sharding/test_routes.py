"""Changes of placement against hand arithmetic and against their meaning on real numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from planner.costs.collectives import Group
from planner.errors import PlannerError
from planner.solvers.sharding import DeviceMesh, mesh_hardware, parse_mesh
from planner.solvers.sharding.placement import Code, dual, placements, storage_codes
from planner.solvers.sharding.routes import Routes
from tests.solvers.sharding.graphs import two_nodes

R, P = -1, -2
MESH = DeviceMesh((2, 4))
SHAPE = (16, 24)


def routes(mesh: DeviceMesh = MESH, shape: tuple[int, ...] = SHAPE) -> Routes:
    return mesh_hardware(two_nodes(), mesh).routes(shape, 2)


def words(source: Code, target: Code) -> list[tuple[object, ...]]:
    return [(step.collective, step.mesh_dim, step.bytes) for step in routes().steps(source, target)]


BYTES = 16 * 24 * 2


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((R, R), (R, 0), []),
        ((R, 0), (R, R), [("all_gather", 1, BYTES)]),
        ((0, R), (R, R), [("all_gather", 0, BYTES)]),
        ((R, P), (R, R), [("all_reduce", 1, BYTES)]),
        ((0, P), (0, R), [("all_reduce", 1, BYTES // 2)]),
        ((R, P), (R, 1), [("reduce_scatter", 1, BYTES)]),
        ((R, 0), (R, 1), [("all_to_all", 1, BYTES // 4)]),
        # the outer split of a dimension can only be undone once the inner one is
        ((0, 0), (R, R), [("all_gather", 1, BYTES // 2), ("all_gather", 0, BYTES)]),
        ((0, 0), (R, 0), [("all_gather", 1, BYTES // 2), ("all_gather", 0, BYTES)]),
        # scattering first makes the second sum smaller
        ((P, P), (0, 1), [("reduce_scatter", 1, BYTES), ("reduce_scatter", 0, BYTES // 4)]),
    ],
)
def test_calls_and_their_bytes(source: Code, target: Code, expected: list[tuple[object, ...]]) -> None:
    steps = [step for step in words(source, target) if step[0] is not None]
    assert steps == expected


def test_large_sums_over_both_dimensions_cross_nodes_in_parts() -> None:
    """Scattered inside the node, added up across nodes by parts, gathered again: a quarter of the bytes leaves the node."""
    shape = (4096, 4096)
    whole = 4096 * 4096 * 2
    steps = routes(shape=shape).steps((P, P), (R, R))
    assert [(step.collective, step.mesh_dim, step.bytes) for step in steps] == [
        ("reduce_scatter", 1, whole),
        ("all_reduce", 0, whole // 4),
        ("all_gather", 1, whole),
    ]
    small = routes(shape=(4, 4)).steps((P, P), (R, R))
    assert [step.collective for step in small] == ["all_reduce", "all_reduce"]


def test_each_call_costs_what_the_collective_model_says() -> None:
    (gather,) = routes().steps((R, 0), (R, R))
    (reduce,) = routes().steps((P, R), (R, R))
    inside, across = Group(two_nodes(), 4), Group(two_nodes(), 2, 4)
    assert gather.seconds == inside.table("all_gather", [BYTES])[0].seconds
    assert reduce.seconds == across.table("all_reduce", [BYTES])[0].seconds


def test_a_route_costs_the_sum_of_its_steps() -> None:
    found = routes()
    codes = [*storage_codes(SHAPE, MESH), (P, R), (0, P), (P, P)]
    table = found.costs(codes, codes)
    for (row, source), (column, target) in itertools.product(enumerate(codes), repeat=2):
        steps = found.steps(source, target)
        assert table[row, column] == pytest.approx(sum(step.seconds for step in steps))
        assert (steps[-1].after if steps else source) == target


Held = dict[tuple[int, int], np.ndarray]


def cut(whole: np.ndarray, code: Code) -> Held:
    """What each rank holds: outer mesh dimension first; sums in random shares."""
    draw = np.random.default_rng(0)
    held = {(0, 0): whole}
    for dim, size in enumerate(MESH.shape):
        spread: Held = {}
        for at, part in held.items():
            if code[dim] >= 0:
                parts = np.split(part, size, axis=code[dim])
            elif code[dim] == P:
                shares = [draw.normal(size=part.shape) for _ in range(size - 1)]
                parts = [*shares, part - sum(shares)]
            else:
                parts = [part] * size
            for rank, piece in enumerate(parts):
                spread[(rank, at[1]) if dim == 0 else (at[0], rank)] = piece
        held = spread
    return held


def moved(held: Held, dim: int, before: int, after: int) -> Held:
    """One collective, or one view, among the ranks along a mesh dimension."""
    result: Held = {}
    size = MESH.shape[dim]
    for at, mine in held.items():
        group = [held[(rank, at[1]) if dim == 0 else (at[0], rank)] for rank in range(size)]
        if before >= 0:
            whole = np.concatenate(group, axis=before)
        else:
            whole = sum(group) if before == P else mine
        if after == P:
            result[at] = whole if at[dim] == 0 else np.zeros_like(whole)
        else:
            result[at] = np.split(whole, size, axis=after)[at[dim]] if after >= 0 else whole
    return result


def test_routes_keep_the_values() -> None:
    """Simulated on eight ranks: every route ends with exactly what the target placement means."""
    whole = np.arange(math.prod(SHAPE), dtype=np.float64).reshape(SHAPE)
    found = routes()
    codes = [*storage_codes(SHAPE, MESH), (P, R), (R, P), (0, P), (P, 1), (P, P)]
    for source, target in itertools.product(codes, repeat=2):
        held = cut(whole, source)
        for step in found.steps(source, target):
            held = moved(held, step.mesh_dim, step.before[step.mesh_dim], step.after[step.mesh_dim])
        for dim, state in enumerate(target):
            if state == P:
                held = moved(held, dim, P, R)
        reached = tuple(R if state == P else state for state in target)
        for at, part in cut(whole, reached).items():
            np.testing.assert_allclose(held[at], part, atol=1e-9)


def test_uneven_parts_have_no_route() -> None:
    found = routes(shape=(6, 5))
    assert np.isinf(found.costs([(R, R)], [(R, 0)])).all()
    assert np.isfinite(found.costs([(R, R)], [(0, R)])).all()


def test_meshes_and_words() -> None:
    assert parse_mesh("2x4") == MESH
    assert (MESH.devices, MESH.stride(0), MESH.stride(1), MESH.text) == (8, 4, 1, "2x4")
    assert placements((P, 1)) == ("P", "S1")
    assert dual((P, 1)) == (R, 1)
    for text in ("", "0", "2x", "2x4x2", "-1", "a"):
        with pytest.raises(PlannerError, match="accepted"):
            parse_mesh(text)
