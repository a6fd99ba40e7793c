from __future__ import annotations

import pytest

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout
from planner.models.spec import ModelSpec
from planner.validation.trainer.pipeline import StagePart, stage_parts
from planner.validation.trainer.settings import Settings


def parts(layout: Layout, rank: int) -> list[StagePart]:
    spec = ModelSpec(layers=8, hidden=8, heads=2, ffn_hidden=8, vocab=16)
    return stage_parts(Settings(spec, layout, load_framework("ideal"), 8, 8), rank)


def test_without_a_pipeline_one_stage_holds_everything() -> None:
    assert parts(Layout(), 0) == [StagePart(0, range(8), True, True)]


def test_interleaved_stages_go_round_the_ranks() -> None:
    layout = Layout(pp=2, vpp=2, schedule="interleaved_1f1b", micro_batches=4)
    assert parts(layout, 0) == [StagePart(0, range(2), True, False), StagePart(2, range(4, 6), False, False)]
    assert parts(layout, 1) == [
        StagePart(1, range(2, 4), False, False),
        StagePart(3, range(6, 8), False, True),
    ]


@pytest.mark.parametrize("schedule", ["zb_v", "dualpipe_v"])
def test_a_v_puts_both_ends_on_the_first_rank(schedule: str) -> None:
    layout = Layout(pp=2, vpp=2, schedule=schedule, micro_batches=4)  # type: ignore[arg-type]
    assert [(part.index, part.embedding, part.head) for part in parts(layout, 0)] == [
        (0, True, False),
        (3, False, True),
    ]


def test_a_list_of_layers_cuts_unevenly() -> None:
    layout = Layout(pp=2, micro_batches=4, layers_per_stage=(3, 5))
    assert [parts(layout, rank)[0].layers for rank in (0, 1)] == [range(3), range(3, 8)]
