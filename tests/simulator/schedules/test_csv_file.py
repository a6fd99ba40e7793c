"""PyTorch's schedule CSV: our files in PyTorch, PyTorch's files here, and what is no schedule."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed.pipelining.schedules as torch_schedules

from planner.errors import PlannerError
from planner.simulator.pipeline import PassSeconds, run_pipeline
from planner.simulator.schedules.csv_file import MAX_BYTES, read_schedule, write_schedule
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.schedule import Schedule
from planner.simulator.schedules.tokens import rows
from planner.simulator.schedules.transfers import with_transfers, without_transfers
from tests.simulator.legality import check_legal
from tests.simulator.schedules import torch_run

ROOT = Path(__file__).parents[3]
CHUNKS = {
    **dict.fromkeys(("gpipe", "1f1b", "eager_1f1b", "zb_h1", "zb_h2"), 1),
    **dict.fromkeys(("interleaved_1f1b", "looped_bfs", "interleaved_zb", "zb_v", "v_half", "v_min"), 2),
    "dualpipe_v": 2,
    "wave": 4,
}
EQUAL = PassSeconds(1.0, 2.0, 1.0, 1.0)


def generated(name: str, ranks: int = 4, micro_batches: int = 8) -> Schedule:
    return make_schedule(name, ranks=ranks, chunks=CHUNKS[name], micro_batches=micro_batches)


def same(one: Schedule, other: Schedule) -> None:
    assert one.rank_of.tolist() == other.rank_of.tolist()
    assert one.micro_batches == other.micro_batches
    assert [rows(actions) for actions in one.actions] == [rows(actions) for actions in other.actions]


def runtime(schedule: Schedule) -> Any:
    """PyTorch's runtime on stages that exist only as numbers."""
    stages = [
        SimpleNamespace(
            stage_index=index,
            num_stages=schedule.stages,
            group_size=schedule.ranks,
            group_rank=0,
            group=None,
            is_first=index == 0,
            is_last=index == schedule.stages - 1,
            submod=SimpleNamespace(),
        )
        for index in range(schedule.stages)
        if schedule.rank_of[index] == 0
    ]
    return torch_schedules._PipelineScheduleRuntime(
        stages, schedule.micro_batches, loss_fn=torch.nn.MSELoss()
    )


@pytest.mark.parametrize("comms", [False, True])
@pytest.mark.parametrize("name", CHUNKS)
def test_round_trip(name: str, comms: bool, tmp_path: Path) -> None:
    schedule = generated(name)
    write_schedule(tmp_path / "a.csv", schedule, comms=comms)
    back = read_schedule(tmp_path / "a.csv")
    same(back, with_transfers(schedule) if comms else schedule)
    same(without_transfers(back), schedule)
    assert back.name == "a.csv"
    assert run_pipeline(back, EQUAL).makespan_s == pytest.approx(run_pipeline(schedule, EQUAL).makespan_s)


@pytest.mark.parametrize("comms", [False, True])
@pytest.mark.parametrize("name", CHUNKS)
def test_pytorch_loads_our_files(name: str, comms: bool, tmp_path: Path) -> None:
    """And, with its own dry run of the transfers, finds no deadlock in them (it cannot dry-run gathers nor OVERLAP_F_B)."""
    schedule = generated(name)
    write_schedule(tmp_path / "a.csv", schedule, comms=comms)
    theirs = runtime(schedule)
    theirs._load_csv(str(tmp_path / "a.csv"), format="compute_comms" if comms else "compute_only")
    assert [theirs.stage_index_to_group_rank[stage] for stage in range(schedule.stages)] == list(
        schedule.rank_of
    )
    if name == "dualpipe_v":
        return
    skipped = ("UNSHARD", "RESHARD", "REDUCE_GRAD")
    order = {
        rank: [action for action in row if action.computation_type.value not in skipped]
        for rank, row in theirs.pipeline_order_with_comms.items()
    }
    torch_schedules._simulate_comms_compute(order, lambda stage: schedule.rank_of[stage], schedule.stages)


@pytest.mark.parametrize("form", ["compute_only", "compute_comms"])
@pytest.mark.parametrize("name", CHUNKS)
def test_pytorch_dumps_are_read(name: str, form: str, tmp_path: Path) -> None:
    """Its lowering adds transfers, gathers and reductions; the passes stay what they were."""
    schedule = generated(name)
    write_schedule(tmp_path / "ours.csv", schedule)
    theirs = runtime(schedule)
    theirs._load_csv(str(tmp_path / "ours.csv"))
    theirs._dump_csv(str(tmp_path / "theirs.csv"), format=form)
    back = read_schedule(tmp_path / "theirs.csv")
    if form == "compute_only":
        same(back, schedule)
    assert run_pipeline(back, EQUAL).makespan_s == pytest.approx(run_pipeline(schedule, EQUAL).makespan_s)


def test_pytorch_own_tables_are_read_with_their_idle_cells(tmp_path: Path) -> None:
    """A table that PyTorch builds by itself, blank cells where a rank waits."""
    schedule = generated("interleaved_1f1b")
    shape = runtime(schedule)
    theirs = torch_schedules.ScheduleInterleaved1F1B(
        shape._stages, schedule.micro_batches, loss_fn=shape._loss_fn
    )
    theirs._dump_csv(str(tmp_path / "a.csv"), format="compute_only")
    assert ",," in (tmp_path / "a.csv").read_text()
    back = read_schedule(tmp_path / "a.csv")
    same(back, schedule)
    check_legal(back)


@pytest.mark.parametrize("name", CHUNKS)
def test_transfers_cannot_block_even_when_each_waits_for_its_partner(name: str) -> None:
    """Every rank does one thing at a time, and a SEND or RECV ends only together with its partner."""
    schedule = with_transfers(generated(name))
    lists = [rows(actions) for actions in schedule.actions]
    position = [0] * schedule.ranks
    moved = True
    while moved:
        moved = False
        for rank, listed in enumerate(lists):
            while position[rank] < len(listed) and (partner := meets(schedule, lists, position, rank)):
                for each in {rank, *partner}:
                    position[each] += 1
                moved = True
    assert position == [len(listed) for listed in lists]


def meets(schedule: Schedule, lists: list[Any], position: list[int], rank: int) -> list[int]:
    """The ranks that can step together with this one; empty when it must wait."""
    kind, stage, unit, *_ = lists[rank][position[rank]]
    partners = {
        "SEND_F": ("RECV_F", 1),
        "RECV_F": ("SEND_F", -1),
        "SEND_B": ("RECV_B", -1),
        "RECV_B": ("SEND_B", 1),
    }
    name = torch_names(kind)
    if name not in partners:
        return [rank]
    wanted, step = partners[name]
    other = int(schedule.rank_of[stage + step])
    if position[other] == len(lists[other]):
        return []
    there = lists[other][position[other]]
    return [other] if (torch_names(there[0]), there[1], there[2]) == (wanted, stage + step, unit) else []


def torch_names(kind: int) -> str:
    names = ("F", "B", "I", "W", "OVERLAP_F_B", "SEND_F", "RECV_F", "SEND_B", "RECV_B")
    return names[kind] if kind < len(names) else "of a stage"


def test_pytorch_trains_with_our_file(tmp_path: Path) -> None:
    """Two processes run V-Half as written here; each stage's gradients are those of the whole model."""
    file = tmp_path / "v_half.csv"
    write_schedule(file, make_schedule("v_half", ranks=2, chunks=2, micro_batches=4), comms=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, torch_run.__file__]
    processes = [
        subprocess.Popen([*command, str(rank), str(file), "compute_comms", str(tmp_path)], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    whole = torch.load(tmp_path / "whole.pt")
    found = {}
    for rank in range(2):
        found |= torch.load(tmp_path / f"gradients-{rank}.pt")
    assert sorted(found) == [0, 1, 2, 3]
    for stage, gradients in found.items():
        for mine, expected in zip(gradients, whole[stage], strict=True):
            torch.testing.assert_close(mine, expected)


GOOD = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("", None, None, "is empty"),
        (",,\n,\n", None, None, "is empty"),
        ("0F0,go,0B0", 1, "rank 0, column 2", "'go' is not an action"),
        ("0F0,0B0\n1F0,1B", 2, "rank 1, column 2", "'1B' is not an action"),
        ("0F0,0B0,3UNSHARD7", 1, "rank 0, column 3", "not an action"),
        ("(0B0;0F0)OVERLAP_F_B", 1, "rank 0, column 1", "not an action"),
        ("0F99999999999,0B0", 1, "rank 0, column 1", "not an action"),
        ("0F0,0B0\n\n1F0,1B0", 2, "schedule", "rank 1 has no actions"),
        ("0F0,0F1,0B0,0B1\n1F0,1B0", 2, "rank 1, column 1", "1F1 is missing"),
        ("0F0,0F1,0B0,0B1\n1F0,1B0,1F1", 2, "rank 1, column 3", "1B1 is missing"),
        ("0F0,0B0,,0F2,0B2", 1, "rank 0, column 1", "0F1 is missing"),
        ("0F0,0I0", 1, "rank 0, column 1", "0W0 is missing"),
        ("0F0,0W0", 1, "rank 0, column 1", "0I0 is missing"),
        ("0B0", 1, "rank 0, column 1", "0F0 is missing"),
        ("0F0,0B0,0I0,0W0", 1, "rank 0, column 3", "both there"),
        ("0F0,0B0,0W0", 1, "rank 0, column 3", "both there"),
        ("0F0,0B0,0F999999999", 1, "rank 0, column 3", "most of which are missing"),
        ("0F0,0B0\n0F1,0B1", 2, "rank 1, column 1", "stage 0 is on two ranks"),
        ("0F0,0B0\n2F0,2B0", 2, "rank 1, column 1", "no rank has stage 1"),
        ("0F0,0B0,0F0", 1, "rank 0, column 3", "0F0 is there already"),
        ("0F0,(0F1;0B0)OVERLAP_F_B,0B0,0B1", 1, "rank 0, column 3", "0B0 is there already"),
        ("0UNSHARD", 1, "rank 0, column 1", "no rank computes"),
        ("0F0,0SEND_F0,0B0\n1F0,1B0", 1, "rank 0, column 2", "1RECV_F0 is missing"),
        ("0F0,0B0\n1RECV_F0,1F0,1B0", 2, "rank 1, column 1", "0SEND_F0 is missing"),
        ("0F0,0SEND_F0,0B0\n1RECV_F0,1F0,1B0", 1, "rank 0, column 3", "0RECV_B0 is missing"),
        ("0F0,0SEND_F0,1RECV_F0,1F0,1B0,0B0", 1, "rank 0, column 2", "same rank"),
        ("0F0,0SEND_B0,0B0", 1, "rank 0, column 2", "has no partner"),
        (
            "0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1",
            None,
            "schedule",
            "rank 0 waits at 0B0 (action 2) for 1B0 of rank 1",
        ),
        ("0B0,0F0", None, "schedule", "rank 0 waits at 0B0 (action 1) for 0F0, which comes later on it"),
        ("0F0,0\x00", None, None, "binary"),
    ],
)
def test_bad_files(text: str, line: int | None, field: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(PlannerError) as caught:
        read_schedule(file)
    error = caught.value
    assert (error.file, error.line, error.field) == (str(file), line, field)
    assert words in error.message
    assert "\n" not in str(error)


def test_good_file(tmp_path: Path) -> None:
    file = tmp_path / "good.csv"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    schedule = read_schedule(file)
    check_legal(schedule)
    assert (schedule.ranks, schedule.stages, schedule.micro_batches) == (2, 2, 2)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="does not exist"):
        read_schedule(tmp_path / "none.csv")
    with pytest.raises(PlannerError, match="directory"):
        read_schedule(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"0F0,0B0,\xe9")
    with pytest.raises(PlannerError, match="UTF-8"):
        read_schedule(tmp_path / "latin.csv")
    with (tmp_path / "huge.csv").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(PlannerError, match="larger than 16 MiB"):
        read_schedule(tmp_path / "huge.csv")


def test_what_the_format_cannot_say(tmp_path: Path) -> None:
    dual = make_schedule("dualpipe", ranks=4, micro_batches=8)
    sliced = make_schedule("seq1f1b", ranks=4, micro_batches=8, slices=2)
    for schedule, words in ((dual, "one chain"), (sliced, "whole micro-batches")):
        with pytest.raises(PlannerError, match=words):
            write_schedule(tmp_path / "a.csv", schedule)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="cannot be written"):
        write_schedule(tmp_path / "no" / "a.csv", generated("1f1b"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PlannerError, match="already says"):
        with_transfers(with_transfers(generated("1f1b")))
