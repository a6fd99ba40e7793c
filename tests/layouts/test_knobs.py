"""Knobs to layouts and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.layouts.aliases import SCHEDULE_ALIASES, schedule_name
from planner.layouts.knobs import layout_to_knobs, parse_layout
from planner.layouts.layout import NAMED_SCHEDULES, SCHEDULES, Layout, Offload, Recompute, Shard
from planner.layouts.presets import zero_shard


def test_defaults(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=64, framework="megatron-core")
    layout = parse_layout("tp=8,pp=2", job)
    assert (layout.dp, layout.sp, layout.schedule) == (4, True, "1f1b")
    assert (layout.micro_batch, layout.micro_batches) == (1, 16)
    assert parse_layout("tp=8,pp=2,vpp=4", job).schedule == "interleaved_1f1b"
    assert parse_layout("", job) == Layout(dp=64, micro_batches=1)
    assert parse_layout({"dp": 64}, job) == Layout(dp=64, micro_batches=1)


def test_context_kinds(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=16)
    cases = {
        "cp=8": (1, 8, "ring"),
        "cp=8,ulysses=4": (4, 2, "ring"),
        "ulysses=4": (4, 1, "ring"),
        "ring=4": (1, 4, "ring"),
        "cp=8,cp_kind=ulysses": (8, 1, "ring"),
        "cp=8,cp_kind=allgather": (1, 8, "allgather"),
        "cp=8,ulysses=2,cp_kind=usp": (2, 4, "ring"),
    }
    for text, expected in cases.items():
        layout = parse_layout(text, job)
        assert (layout.ulysses, layout.ring, layout.cp_kind) == expected
    only_ulysses = make_job("llama3-8b", devices=16, framework="deepspeed")
    assert parse_layout("cp=8", only_ulysses).ulysses == 8


def test_zero_stages_and_groups(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=16)
    assert parse_layout("tp=2,cp=2,zero_stage=2", job).shard == Shard(1, 8, 8)
    assert parse_layout("shard={parameters: 4}", job).shard == Shard(4, 4, 4)
    assert parse_layout("shard.optimizer=4", job).shard == Shard(1, 1, 4)
    hpz = parse_layout("shard={parameters: 16, parameters_secondary: 8}", job).shard
    assert hpz == Shard(16, 16, 16, 8)


def test_offload_forms(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8)
    expected = Offload(optimizer=("host", 0.5))
    for text in (
        "offload={optimizer: {tier: host, fraction: 0.5}}",
        "offload.optimizer=host:0.5",
        "offload={optimizer: host:0.5}",
    ):
        assert parse_layout(text, job).offload == expected
    assert parse_layout("offload=none", job).offload == Offload()


def test_recompute_forms(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8)
    assert parse_layout("recompute=selective", job).recompute == Recompute("selective", ("core_attention",))
    assert parse_layout("recompute_modules=[mlp, norm]", job).recompute == Recompute(
        "selective", ("mlp", "norm", "activation")
    )
    half = parse_layout("recompute=full,recompute_layers=16", job)
    assert (half.recompute.mode, half.recompute_layers) == ("full", 16)
    for text in ("8+0", "[8, 0]"):
        each = parse_layout(f"pp=2,recompute=full,recompute_layers={text}", job)
        assert each.recompute_layers == (8, 0)
        assert parse_layout(each.knobs(), job) == each
    with pytest.raises(PlannerError, match="3 entries for pp=2"):
        parse_layout("pp=2,recompute=full,recompute_layers=8+0+1", job)


@pytest.mark.parametrize(
    ("spelling", "schedule"),
    [
        ("1F1B", "1f1b"),
        ("PipeDream-Flush", "1f1b"),
        ("interleaved", "interleaved_1f1b"),
        ("ScheduleInterleaved1F1B", "interleaved_1f1b"),
        ("ZB-1P", "zb_h1"),
        ("zb-h2", "zb_h2"),
        ("zbv", "zb_v"),
        ("dualpipev", "dualpipe_v"),
        ("DualPipe", "dualpipe"),
        ("Hanayo", "wave"),
        ("GPipe", "gpipe"),
    ],
)
def test_schedule_spellings(spelling: str, schedule: str) -> None:
    assert schedule_name(spelling) == schedule


def test_every_schedule_has_its_own_name() -> None:
    assert {schedule_name(name) for name in NAMED_SCHEDULES} == set(NAMED_SCHEDULES)
    assert set(SCHEDULE_ALIASES.values()) == set(NAMED_SCHEDULES) == set(SCHEDULES) - {"csv"}


def test_an_action_list_is_looked_for_beside_the_job(make_job: Any, tmp_path: Path) -> None:
    job = make_job("llama3-8b", devices=8, global_batch=64)
    layout = parse_layout("pp=4,schedule=csv:mine/a.csv", job, base=tmp_path)
    assert layout.schedule == "csv"
    assert layout.schedule_file == str(tmp_path / "mine" / "a.csv")
    assert layout_to_knobs(layout)["schedule"] == f"csv:{tmp_path}/mine/a.csv"
    assert parse_layout("pp=4,schedule=csv:/a.csv", job, base=tmp_path).schedule_file == "/a.csv"
    assert parse_layout("pp=4,schedule=csv:a.csv", job).schedule_file == str(Path.cwd() / "a.csv")


def test_slices_belong_to_seq1f1b(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8, global_batch=64)
    assert parse_layout("pp=4,schedule=seq1f1b", job).slices == 4
    assert parse_layout("pp=4,schedule=seq1f1b,slices=2", job).slices == 2
    assert parse_layout("pp=4", job).slices == 1


@pytest.mark.parametrize(
    ("knobs", "field", "words"),
    [
        ("tp=3", "layout", "nearest legal"),
        ("tp=0", "layout.tp", "out of range"),
        ("tp=-2", "layout.tp", "out of range"),
        ("tp=2.5", "layout.tp", "whole number"),
        ("tp=nan", "layout.tp", "whole number"),
        ("tp=10000000000000", "layout.tp", "out of range"),
        ("tpp=2", "layout.tpp", "did you mean 'tp'"),
        ("tp", "layout", "knob=value"),
        ("tp=2,tp=4", "layout.tp", "twice"),
        ("dp=4", "layout.dp", "dp must be 8"),
        ("cp=4,ulysses=3", "layout.cp", "ulysses may be 1, 2, 4"),
        ("cp=4,ulysses=2,cp_kind=ulysses", "layout.cp_kind", "usp"),
        ("cp_kind=loop", "layout.cp_kind", "accepted"),
        ("micro_batch=5", "layout.micro_batch", "nearest legal"),
        ("micro_batch=2,grad_accum=8", "layout.grad_accum", "make it 4"),
        ("zero_stage=4", "layout.zero_stage", "0, 1, 2, 3"),
        ("zero_stage=1,shard={optimizer: 8}", "layout.shard", "one of them"),
        ("shard={weights: 8}", "layout.shard.weights", "unknown state"),
        ("shard=8", "layout.shard", "mapping"),
        ("schedule=zigzag", "layout.schedule", "unknown schedule"),
        ("schedule=csv:", "layout.schedule", "csv:FILE"),
        ("schedule=csv", "layout.schedule", "csv:FILE"),
        ("slices=0", "layout.slices", "out of range"),
        ("recompute=some", "layout.recompute", "accepted"),
        ("recompute=full,recompute_modules=[mlp]", "layout.recompute_modules", "selective"),
        ("offload={optimizer: disk}", "layout.offload.optimizer.tier", "accepted"),
        ("offload={optimizer: {tier: host, fraction: 2}}", "layout.offload.optimizer.fraction", "share"),
        ("axis_order=[tp, cp]", "layout.axis_order", "once"),
        ("pp=4,layers_per_stage=[8, 8]", "layout.layers_per_stage", "multiple of 4"),
        ("shard={optimizer: 8", "layout", "missing"),
        ("shard=optimizer: 8}", "layout", "unbalanced"),
        ("offload=" + "[" * 50 + "]" * 50, "layout", "deeply"),
        ("sp=maybe", "layout.sp", "neither"),
    ],
)
def test_bad_knobs_say_what_is_accepted(make_job: Any, knobs: str, field: str, words: str) -> None:
    job = make_job("llama3-8b", devices=8, global_batch=64)
    with pytest.raises(PlannerError) as caught:
        parse_layout(knobs, job, file="job.yaml", line=7)
    assert words in str(caught.value)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


_powers = st.sampled_from([1, 2, 4])


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    tp, ulysses, ring, pp = (draw(_powers) for _ in range(4))
    dp = 256 // (tp * ulysses * ring * pp)
    group = dp * ulysses * ring
    shard = draw(
        st.sampled_from(
            [zero_shard(stage, group) for stage in range(4)] + [Shard(1, 2, 4), Shard(8, 8, 8, 2)]
        )
    )
    tier = draw(st.sampled_from([("hbm", 0.0), ("host", 1.0), ("nvme", 0.25)]))
    micro_batch = draw(_powers)
    schedule = draw(st.sampled_from(SCHEDULES))
    return Layout(
        tp=tp,
        sp=draw(st.booleans()),
        ulysses=ulysses,
        ring=ring,
        pp=pp,
        vpp=draw(_powers),
        schedule=schedule,
        schedule_file="/schedules/my own.csv" if schedule == "csv" else None,
        slices=draw(_powers) if schedule == "seq1f1b" else 1,
        ep=draw(_powers),
        etp=draw(_powers),
        dp=dp,
        shard=shard,
        micro_batch=micro_batch,
        micro_batches=1024 // (dp * micro_batch),
        recompute=draw(st.sampled_from([Recompute(), Recompute("full"), Recompute("selective", ("mlp",))])),
        recompute_layers=draw(st.sampled_from([None, 3])),
        offload=Offload(optimizer=tier, activations=draw(st.sampled_from([("hbm", 0.0), ("host", 1.0)]))),
        axis_order=draw(st.sampled_from([("tp", "cp", "ep", "dp", "pp"), ("dp", "tp", "pp", "cp", "ep")])),
        cp_kind=draw(st.sampled_from(["ring", "allgather"])),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_round_trip(make_job: Any, layout: Layout) -> None:
    job = make_job("mixtral-8x7b", devices=256, global_batch=1024)
    knobs = layout_to_knobs(layout)
    assert parse_layout(knobs, job) == layout
    text = ",".join(f"{name}={_text(value)}" for name, value in knobs.items())
    assert parse_layout(text, job) == layout


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
