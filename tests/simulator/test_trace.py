"""Traces: valid, complete, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.analysis.links_use import link_series
from planner.simulator.analysis.memory import RankFacts, StageFacts, memory_timelines
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.program import Execution, Program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.trace import trace_lines, write_trace
from planner.simulator.trace_events import TraceNames
from tests.simulator.analysis.programs import two_stages
from tests.simulator.chrome_trace import check_trace, nanoseconds, read_trace

NAMES = TraceNames(("rank 0 (pipeline rank 0, 1 device)", "rank 1 (pipeline rank 1, 1 device)"), ("nvlink",))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    program, execution, schedule = two_stages()
    facts = [StageFacts(saved_bytes=2.0**30)] * 2
    memory = memory_timelines(
        program, execution, schedule, facts, [RankFacts({"parameters": 2.0**31})] * 2, [0, 1], [0, 1]
    )
    path = tmp_path / "trace.json"
    load = link_series(program, execution, [0, 2])
    write_trace(path, trace_lines(program, execution, NAMES, memory, load))
    return path


def of(events: list[dict[str, Any]], phase: str) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == phase]


def test_two_stages_event_by_event(written: Path) -> None:
    events = read_trace(written)
    check_trace(events)
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert threads == {
        (0, 1): "compute", (0, 2): "tp", (0, 3): "pp", (1, 1): "compute", (1, 2): "pp", (1, 3): "dp",
    }  # fmt: skip
    shown = {(e["pid"], e["name"], e["ts"], e["dur"]) for e in of(events, "X")}
    assert (0, "F 0", 0.0, 1e6) in shown
    assert (1, "B 1", 5.5e6, 2e6) in shown
    assert (0, "update", 10.5e6, 1e6) in shown
    assert (1, "reduce gradients", 7.5e6, 3.5e6) in shown
    # 8 passes, 2 updates, 4 hops, a reduction, an exchange: all 16 tasks take time.
    assert len(shown) == 16
    (reduce,) = (e for e in of(events, "X") if e["name"] == "reduce gradients")
    assert (reduce["cat"], reduce["args"]) == ("dp", {"bytes": 70})
    (forward,) = (e for e in of(events, "X") if e["name"] == "F 1" and e["pid"] == 1)
    assert forward["args"] == {"stage": 1, "micro_batch": 1}


def test_arrows_lead_from_pass_to_pass(written: Path) -> None:
    events = read_trace(written)
    ends = {e["id"]: e for e in of(events, "f")}
    ways = {(e["pid"], e["ts"], ends[e["id"]]["pid"], ends[e["id"]]["ts"]) for e in of(events, "s")}
    # A nanosecond before the giving pass ends; when the taking pass begins.
    assert ways == {
        (0, 999999.999, 1, 1.5e6), (0, 1999999.999, 1, 4.5e6), (1, 4499999.999, 0, 5e6), (1, 7499999.999, 0, 8.5e6),
    }  # fmt: skip


def test_counters_follow_memory_and_links(written: Path) -> None:
    counters = of(read_trace(written), "C")
    memory = [e for e in counters if e["name"] == "memory (GiB)" and e["pid"] == 0]
    assert memory[0]["args"] == {"parameters": 2.0, "activations": 1.0}
    # F, F, B, then B's end with the update's start, and the update's end.
    assert [e["args"]["activations"] for e in memory] == [1, 2, 1, 0, 0]
    assert {e["name"] for e in counters} == {"memory (GiB)", "nvlink out"}


def test_parts_of_sequences_have_their_own_number() -> None:
    schedule = make_schedule("seq1f1b", ranks=2, chunks=1, micro_batches=2, slices=2)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    names = TraceNames(("rank 0", "rank 1"), (), slices=2)
    events = [json.loads(line) for line in trace_lines(program, run_fixed(program), names)]
    forward = [e for e in of(events, "X") if e["pid"] == 1 and e["name"].startswith("F")]
    assert [e["name"] for e in forward] == ["F 0.0", "F 0.1", "F 1.0", "F 1.1"]
    assert forward[3]["args"] == {"stage": 1, "micro_batch": 1, "slice": 1}


def test_group_transfers_show_at_every_member() -> None:
    program, execution, _ = two_stages()
    events = [json.loads(line) for line in trace_lines(program, execution, NAMES)]
    assert {e["pid"] for e in of(events, "X") if e["name"] == "tp exchange"} == {0}
    hops = [e for e in of(events, "X") if e["cat"] == "pp"]
    # Hops name both ends as members but show once, at the sender.
    assert sorted(e["pid"] for e in hops) == [0, 0, 1, 1]


@settings(max_examples=25)
@given(
    name=st.sampled_from(["gpipe", "1f1b", "zb_h1", "interleaved_1f1b", "dualpipe_v"]),
    ranks=st.integers(2, 4),
    rounds=st.integers(2, 4),
    hop=st.sampled_from([0.0, 1e-9, 0.3, 2.7]),
    forward=st.floats(1e-3, 5.0),
)
def test_every_schedule_gives_a_valid_trace(
    name: str, ranks: int, rounds: int, hop: float, forward: float
) -> None:
    chunks = 2 if name in ("interleaved_1f1b", "dualpipe_v") else 1
    schedule = make_schedule(name, ranks=ranks, chunks=chunks, micro_batches=ranks * rounds)
    program = pipeline_program(
        schedule, PassSeconds(forward, 1.1 * forward, forward / 3, 0.7 * forward), hop_s=hop
    )
    execution = run_fixed(program)
    names = TraceNames([f"rank {rank}" for rank in range(ranks)], ())
    facts = [StageFacts(1e9, 1e8)] * schedule.stages
    memory = memory_timelines(
        program, execution, schedule, facts, [RankFacts()] * ranks, range(ranks), range(ranks)
    )
    events = [json.loads(line) for line in trace_lines(program, execution, names, memory)]
    check_trace(events)
    busy = sum(nanoseconds(e["dur"]) for e in of(events, "X") if e["cat"] == "compute")
    compute = program.tasks.seconds[program.tasks.stream >= 0].sum()
    assert busy == pytest.approx(compute * 1e9, abs=len(events))
    if hop > 1e-9:
        assert (
            len(of(events, "s"))
            == len(of(events, "f"))
            == len([e for e in of(events, "X") if e["cat"] == "pp"])
        )


def test_compressed_and_plain_hold_the_same(written: Path, tmp_path: Path) -> None:
    program, execution, _ = two_stages()
    plain, packed, again = tmp_path / "a.json", tmp_path / "b.json.gz", tmp_path / "c.json.gz"
    for path in (plain, packed, again):
        write_trace(path, trace_lines(program, execution, NAMES))
    assert read_trace(plain) == read_trace(packed)
    assert packed.read_bytes() == again.read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "a.json",
        "b.json.gz",
        "c.json.gz",
        "trace.json",
    ]


def test_too_many_events_are_refused_before_anything_is_written() -> None:
    program, execution, _ = two_stages()
    words = r"--html: 28 events, at most 27 open in a viewer:.*--merge auto"
    with pytest.raises(PlannerError, match=words):
        trace_lines(program, execution, NAMES, limit=27, field="--html")


def test_a_trace_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    program, execution, _ = two_stages()
    with pytest.raises(PlannerError, match="cannot be written"):
        write_trace(tmp_path / "missing" / "trace.json", trace_lines(program, execution, NAMES))
    path = tmp_path / "trace.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_trace(path, _interrupted(program, execution))
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["trace.json"]


def _interrupted(program: Program, execution: Execution):  # type: ignore[no-untyped-def]
    for count, line in enumerate(trace_lines(program, execution, NAMES)):
        if count == 5:
            raise KeyboardInterrupt
        yield line
