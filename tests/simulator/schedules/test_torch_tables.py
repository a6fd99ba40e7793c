"""Our action tables against those of torch.distributed.pipelining, token for token."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed.pipelining.schedules as torch_schedules

from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.fused import gpipe, one_f_one_b
from planner.simulator.schedules.interleaved import interleaved_1f1b, interleaved_zb, looped_bfs
from planner.simulator.schedules.schedule import NONE, Actions
from planner.simulator.schedules.v_shape import dualpipe_v, zb_v
from tests.simulator.schedules.cells import cell, table

SHAPES = [(2, 4), (2, 7), (4, 8), (4, 9), (4, 16), (8, 16), (8, 24), (8, 37)]
MULTIPLES = [(ranks, micro_batches) for ranks, micro_batches in SHAPES if micro_batches % ranks == 0]
# torch deals m into max(1, m // p) rounds of equal size.
ROUNDS = [*MULTIPLES, (2, 1), (4, 3), (4, 6), (4, 10), (8, 5), (8, 18), (8, 27)]


def theirs(name: str, ranks: int, chunks: int, micro_batches: int) -> dict[int, list[str]]:
    """torch's table for stages that exist only as numbers; without the idle cells."""
    built = getattr(torch_schedules, name)(_stages(name, ranks, chunks), micro_batches)
    order = built._get_pipeline_order() if name == "ScheduleGPipe" else built.pipeline_order
    return {rank: [str(entry) for entry in order[rank] if entry is not None] for rank in range(ranks)}


def _stages(name: str, ranks: int, chunks: int) -> Any:
    stages = [
        SimpleNamespace(
            stage_index=index,
            num_stages=ranks * chunks,
            group_size=ranks,
            group_rank=0,
            group=None,
            is_first=index == 0,
            is_last=index == ranks * chunks - 1,
            has_backward=True,
            submod=SimpleNamespace(),
        )
        for index in _local(name, ranks, chunks)
    ]
    return stages[0] if name == "ScheduleGPipe" else stages


def _local(name: str, ranks: int, chunks: int) -> Iterator[int]:
    if name in {"ScheduleZBVZeroBubble", "ScheduleDualPipeV"}:
        return iter((0, 2 * ranks - 1))
    return iter(range(0, ranks * chunks, ranks))


@pytest.mark.parametrize(("ranks", "micro_batches"), SHAPES)
def test_gpipe(ranks: int, micro_batches: int) -> None:
    """torch's GPipe table alone also holds each stage's gradient reduction, after its last backward."""
    reduced = {
        rank: [*cells, f"{rank}REDUCE_GRAD"] for rank, cells in table(gpipe(ranks, micro_batches)).items()
    }
    assert reduced == theirs("ScheduleGPipe", ranks, 1, micro_batches)


@pytest.mark.parametrize("chunks", [2, 4])
@pytest.mark.parametrize(("ranks", "micro_batches"), ROUNDS)
def test_interleaved(ranks: int, micro_batches: int, chunks: int) -> None:
    ours = table(interleaved_1f1b(ranks, chunks, micro_batches, rounds=True))
    assert ours == theirs("ScheduleInterleaved1F1B", ranks, chunks, micro_batches)


@pytest.mark.parametrize("chunks", [2, 4])
@pytest.mark.parametrize(("ranks", "micro_batches"), MULTIPLES)
def test_groups_and_rounds_agree_on_multiples(ranks: int, micro_batches: int, chunks: int) -> None:
    """Megatron's groups of p are torch's rounds when p divides m."""
    assert table(interleaved_1f1b(ranks, chunks, micro_batches)) == table(
        interleaved_1f1b(ranks, chunks, micro_batches, rounds=True)
    )


@pytest.mark.parametrize("chunks", [2, 3])
@pytest.mark.parametrize(("ranks", "micro_batches"), SHAPES)
def test_looped_bfs(ranks: int, micro_batches: int, chunks: int) -> None:
    assert table(looped_bfs(ranks, chunks, micro_batches)) == theirs(
        "ScheduleLoopedBFS", ranks, chunks, micro_batches
    )


@pytest.mark.parametrize("chunks", [2, 4])
@pytest.mark.parametrize(("ranks", "micro_batches"), ROUNDS)
def test_interleaved_zero_bubble(ranks: int, micro_batches: int, chunks: int) -> None:
    ours = table(interleaved_zb(ranks, chunks, micro_batches, rounds=True))
    assert ours == theirs("ScheduleInterleavedZeroBubble", ranks, chunks, micro_batches)


@pytest.mark.parametrize(("ranks", "micro_batches"), [*SHAPES, (1, 3), (4, 1), (4, 5), (8, 14)])
def test_zb_v(ranks: int, micro_batches: int) -> None:
    assert table(zb_v(ranks, micro_batches)) == theirs("ScheduleZBVZeroBubble", ranks, 2, micro_batches)


@pytest.mark.parametrize(
    ("ranks", "micro_batches"), [(ranks, m) for ranks, m in [*SHAPES, (1, 2), (3, 6)] if m >= 2 * ranks]
)
def test_dualpipe_v(ranks: int, micro_batches: int) -> None:
    assert table(dualpipe_v(ranks, micro_batches)) == theirs("ScheduleDualPipeV", ranks, 2, micro_batches)


@pytest.mark.parametrize(("ranks", "micro_batches"), [(2, 4), (4, 8), (4, 14), (8, 20)])
def test_dualpipe_is_dualpipe_v_with_the_second_arm_unfolded(ranks: int, micro_batches: int) -> None:
    """Half of the ranks, half of the micro-batches: DualPipeV's table with the far arm's stages on the mirror ranks.

    DeepSeek's repository derives DualPipeV from DualPipe by this "cut in half"; torch has only DualPipeV.
    """
    depth, half = ranks // 2, micro_batches // 2
    torch_cells = theirs("ScheduleDualPipeV", depth, 2, half)
    schedule = dualpipe(ranks, micro_batches)
    for rank in range(depth):
        own = {rank: rank, 2 * ranks - 1 - rank: 2 * depth - 1 - rank}
        assert (
            _renamed(schedule.actions[rank], own, {rank: 0, 2 * ranks - 1 - rank: half}) == torch_cells[rank]
        )
        mirror = ranks - 1 - rank
        own = {2 * ranks - 1 - mirror: rank, mirror: 2 * depth - 1 - rank}
        first = {2 * ranks - 1 - mirror: half, mirror: 0}
        assert _renamed(schedule.actions[mirror], own, first) == torch_cells[rank]


def _renamed(actions: Actions, stages: dict[int, int], first: dict[int, int]) -> list[str]:
    def move(stage: list[int], micro_batch: list[int]) -> list[tuple[int, int]]:
        pairs = zip(stage, micro_batch, strict=True)
        return [(NONE, NONE) if s == NONE else (stages[s], i - first[s]) for s, i in pairs]

    fronts = move(actions.stage.tolist(), actions.micro_batch.tolist())
    backs = move(actions.stage2.tolist(), actions.micro_batch2.tolist())
    return [
        cell(kind, *front, *back)
        for kind, front, back in zip(actions.kind.tolist(), fronts, backs, strict=True)
    ]


def test_torch_one_f_one_b_is_not_an_oracle() -> None:
    """torch 2.13 prints F1 .. Fm instead of F0 .. F(m-1) on the last rank; its executor does not use that table."""
    stage = _stages("ScheduleGPipe", 4, 1)
    order = torch_schedules.Schedule1F1B(stage, 8)._get_pipeline_order()
    printed = {rank: [str(entry) for entry in order[rank] if entry is not None] for rank in range(4)}
    assert "3F8" in printed[3]
    assert "3F0" not in printed[3]
    expected = {rank: [*row, f"{rank}REDUCE_GRAD"] for rank, row in table(one_f_one_b(4, 8)).items()}
    assert {rank: printed[rank] for rank in range(3)} == {rank: expected[rank] for rank in range(3)}
