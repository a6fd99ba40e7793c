"""Which blocks a pipeline rank owns: even and uneven lists, V placement, recomputed layers, tied tables."""

from __future__ import annotations

from typing import Any

import pytest

from planner.costs.stages import stage_blocks, stage_classes, virtual_stages_of
from planner.costs.states import shared_with_others, tied_elsewhere
from planner.models.catalogue import load_model
from planner.models.graph import ModelGraph
from tests.costs.samples import DENSE


@pytest.fixture
def model() -> ModelGraph:
    """Eight layers with a tied table."""
    return load_model(DENSE)[1]


def layers(model: ModelGraph, blocks: list[str]) -> int:
    return sum(model.blocks[name].kind == "layer" for name in blocks)


def kinds(model: ModelGraph, blocks: list[str]) -> set[str]:
    return {model.blocks[name].kind for name in blocks} - {"layer"}


@pytest.mark.parametrize(
    ("stages", "shares", "expected"),
    [
        (1, None, [8]),
        (4, None, [2, 2, 2, 2]),
        (4, (1, 3, 3, 1), [1, 3, 3, 1]),
        (3, (0, 8, 0), [0, 8, 0]),
    ],
)
def test_layers_are_dealt_out(
    model: ModelGraph, stages: int, shares: tuple[int, ...] | None, expected: list[int]
) -> None:
    dealt = stage_blocks(model, stages, shares)
    assert [layers(model, blocks) for blocks in dealt] == expected
    assert [name for blocks in dealt for name in blocks] == list(model.order)
    assert "head" in kinds(model, dealt[-1])


def test_placements() -> None:
    """Loop: every pp-th stage; V: down and up again; both directions: the rank and its mirror."""
    assert virtual_stages_of(1, 4, 3, 0) == (1, 5, 9)
    assert [virtual_stages_of(rank, 4, 2, 1) for rank in range(4)] == [(0, 7), (1, 6), (2, 5), (3, 4)]
    assert [virtual_stages_of(rank, 4, 1, 2) for rank in range(4)] == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_inner_ranks_are_one_class(model: ModelGraph) -> None:
    classes = stage_classes(model, 4, 1, None, None)
    assert [stage.ranks for stage in classes] == [(0,), (1, 2), (3,)]
    assert [stage.layers(model) for stage in classes] == [2, 2, 2]
    assert [(stage.holds_first, stage.holds_last) for stage in classes] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    apart = stage_classes(model, 4, 1, None, None, every_rank=True)
    assert [stage.ranks for stage in apart] == [(0,), (1,), (2,), (3,)]


def test_v_placement_puts_both_ends_on_rank_0(model: ModelGraph) -> None:
    first = stage_classes(model, 4, 2, None, None, 1)[0]
    assert (first.ranks, first.virtual_stages) == ((0,), (0, 7))
    assert first.holds_first
    assert first.holds_last
    assert first.layers(model) == 2


def test_both_directions_hold_everything_twice(model: ModelGraph) -> None:
    classes = stage_classes(model, 4, 1, None, None, 2)
    assert sum(stage.count * stage.layers(model) for stage in classes) == 2 * 8


def test_each_rank_may_recompute_as_many_layers_as_it_likes(model: ModelGraph) -> None:
    listed = stage_classes(model, 2, 1, None, (3, 0), every_rank=True)
    assert [sum(stage.recomputed.values()) for stage in listed] == [3, 0]
    assert [sum(stage.plain.values()) for stage in listed] == [2, 5]  # and embedding, head


@pytest.mark.parametrize(("first_n", "expected"), [(None, 4), (0, 0), (1, 1), (9, 4)])
def test_recompute_takes_the_first_layers_of_a_rank(
    model: ModelGraph, first_n: int | None, expected: int
) -> None:
    for stage in stage_classes(model, 2, 1, None, first_n):
        assert sum(stage.recomputed.values()) == expected
        assert all(model.blocks[name].kind == "layer" for name in stage.recomputed)


def names(parameters: tuple[Any, ...]) -> list[tuple[int, ...]]:
    return [tuple(axis.size for axis in parameter.axes) for parameter in parameters]


def test_a_tied_table_is_copied_once_to_the_stage_that_needs_it(model: ModelGraph) -> None:
    """The head of the last stage multiplies with the table of the first: 32,000 x 1,024, stored twice, summed over pp."""
    first, *inner, last = stage_classes(model, 4, 1, None, None)
    assert [sorted(shape) for shape in names(tied_elsewhere(model, last))] == [[1024, 32000]]
    assert [sorted(shape) for shape in names(shared_with_others(model, first))] == [[1024, 32000]]
    assert names(tied_elsewhere(model, first)) == []
    assert all(not tied_elsewhere(model, stage) and not shared_with_others(model, stage) for stage in inner)


@pytest.mark.parametrize(("pp", "kind"), [(1, 0), (4, 1)])
def test_a_tied_table_is_stored_once_where_both_ends_meet(model: ModelGraph, pp: int, kind: int) -> None:
    stage = stage_classes(model, pp, 1, None, None, kind)[0]
    assert tied_elsewhere(model, stage) == ()
    assert shared_with_others(model, stage) == ()
