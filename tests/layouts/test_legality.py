"""Each rule, from the published constraints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.errors import PlannerError
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout, Offload, Recompute, Schedule, Shard
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import RULES, check, legal_mask, rule_masks
from planner.simulator.schedules.generate import GENERATORS, make_schedule


def broken(job: Any, knobs: Any) -> set[str]:
    return {violation.rule for violation in check(job, parse_layout(knobs, job))}


def test_usp_against_eight_kv_heads(make_job: Any) -> None:
    """USP (arXiv 2405.07719): u x t <= kv heads. Llama-3-8B has 8: u8 r2 runs, u16 and t8 u2 do not."""
    job = make_job("llama3-8b", devices=16, seq_len=65536, global_batch=1)
    assert broken(job, "ulysses=8,cp=16") == set()
    assert broken(job, "ulysses=16,cp=16") == {"kv_heads"}
    assert broken(job, "tp=8,ulysses=2,cp=2") == {"kv_heads"}
    assert broken(job, "tp=16") == set()  # tp alone replicates key/value heads


def test_tensor_parallel_divides_heads(make_job: Any) -> None:
    job = make_job("gpt3-175b", devices=64)  # 96 heads
    (violation,) = check(job, parse_layout("tp=64,sp=false", job))
    assert violation.rule == "heads"
    assert violation.knob == "tp"
    assert violation.found == 64
    assert set(violation.accepted) <= {1, 2, 4, 8, 16, 32}
    assert "96" in violation.message


def test_layers_must_divide_unless_listed(make_job: Any) -> None:
    job = make_job("llama3-405b", devices=16)  # 126 layers
    assert "layers" in broken(job, "pp=16")
    assert broken(job, {"pp": 16, "layers_per_stage": [7] + [8] * 14 + [7]}) == set()
    assert "layers" in broken(job, {"pp": 16, "layers_per_stage": [8] * 16})


@pytest.mark.parametrize(
    ("knobs", "rule", "knob", "accepted"),
    [
        ("pp=4,vpp=3", "layers", "vpp", (1, 2, 4, 8)),  # 32 layers
        ("shard={optimizer: 3}", "shard_groups", "shard", (Shard(1, 1, 2), Shard(1, 1, 4))),
        ("pp=4,vpp=2,micro_batch=16", "schedule_micro_batches", "micro_batch", (1, 2, 4, 8)),
    ],
)
def test_nearest_legal_values(
    make_job: Any, knobs: str, rule: str, knob: str, accepted: tuple[Any, ...]
) -> None:
    job = make_job("llama3-8b", devices=8)
    found = next(item for item in check(job, parse_layout(knobs, job)) if item.rule == rule)
    assert found.knob == knob
    assert found.accepted[: len(accepted)] == accepted


@pytest.mark.parametrize(
    ("knobs", "rule"),
    [
        ("schedule=zb_h1", "schedule_pipeline"),
        ("pp=2,vpp=2,schedule=1f1b", "schedule_chunks"),
        ("pp=2,vpp=4,schedule=zb_v", "schedule_chunks"),
        ("pp=2,vpp=1,schedule=interleaved", "schedule_chunks"),
        ("pp=4,vpp=2,micro_batch=32", "schedule_micro_batches"),
        ("ep=2", "needs_experts"),
        ("shard={parameters: 8, gradients: 1, optimizer: 8}", "nested_shards"),
        ("shard={optimizer: 3}", "shard_groups"),
        ("shard={parameters: 8, parameters_secondary: 3}", "secondary_shard"),
        ("recompute_modules=[moe]", "recompute_modules"),
        ("recompute_layers=2", "recompute_layers"),
        ("recompute=full,recompute_layers=33", "recompute_layers"),
        ("pp=2,recompute=full,recompute_layers=16+17", "recompute_layers"),
        ("pp=2,recompute_layers=1+1", "recompute_layers"),
        ("offload.optimizer=nvme", "offload_tiers"),
        ("sp=true", "sequence_parallel"),
    ],
)
def test_one_rule_breaks(make_job: Any, knobs: str, rule: str) -> None:
    job = make_job("llama3-8b", devices=8)  # 32 layers, batch 64
    assert rule in broken(job, knobs)


def test_zigzag_needs_two_chunks_per_rank(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8, seq_len=4104, global_batch=8)  # 8 x 513: divisible by 8, not by 16
    assert broken(job, "cp=8") == {"context"}
    assert broken(job, "cp=8,ulysses=8") == set()


@pytest.mark.parametrize(
    ("framework", "knobs", "rule"),
    [
        ("megatron-core", "zero_stage=3", "framework_zero_stage"),
        ("megatron-core", "pp=2,schedule=gpipe", "framework_schedule"),
        ("deepspeed", "tp=2", "framework_tp"),
        ("deepspeed", "pp=2,zero_stage=2", "framework_pipeline_stage"),
        ("deepspeed", "cp=2,cp_kind=ring", "framework_ring"),
        ("megatron-deepspeed", "shard={optimizer: 4}", "framework_subgroups"),
        ("composer-fsdp", "pp=2", "framework_pp"),
    ],
)
def test_framework_limits(make_job: Any, framework: str, knobs: str, rule: str) -> None:
    job = make_job("llama3-8b", devices=8, framework=framework)
    assert rule in broken(job, knobs)
    assert rule not in broken(make_job("llama3-8b", devices=8), knobs)


def test_expert_rules(make_job: Any) -> None:
    job = make_job("mixtral-8x7b", devices=16)
    assert broken(job, "ep=16") == {"experts"}
    assert broken(job, "tp=2,ep=8,etp=4") == {"expert_mesh"}
    assert broken(job, "tp=2,sp=false,ep=8") == {"split_tokens"}
    assert broken(job, "tp=2,ep=8,etp=2") == set()


def test_folding_lists_64_experts_ranks(make_job: Any) -> None:
    """MoE Parallel Folding's README example: tp 4, cp 2, dp 8, pp 4 allows ep 64 folded and ep 8 unfolded."""
    base = Layout(tp=4, sp=True, ring=2, dp=8, pp=4, micro_batches=8)

    def largest(framework: str, etp: int) -> int:
        job = make_job("deepseek-v2-lite", devices=256, framework=framework, fix={})
        masks = {
            ep: rule_masks(from_layouts([replace(base, ep=ep, etp=etp)]), job)
            for ep in (1, 2, 4, 8, 16, 32, 64)
        }
        names = ("experts", "expert_mesh", "unfolded_experts")
        return max(ep for ep, rules in masks.items() if all(rules[name][0] for name in names))

    assert largest("megatron-core", 1) == 64
    assert largest("megatron-lm", 4) == 8
    assert replace(base, ep=64).edp == 1


def test_cp8_with_ep8_fits_8_devices_folded_and_64_unfolded(make_job: Any) -> None:
    """Same source: CP 8 with EP 8 needs 64 devices without folding."""
    folded = make_job("mixtral-8x7b", devices=8, global_batch=8, framework="megatron-core", seq_len=4096)
    assert broken(folded, "cp=8,ep=8") == set()
    for devices, good in ((8, False), (16, False), (32, False), (64, True)):
        job = make_job("mixtral-8x7b", devices=devices, global_batch=8, framework="internevo", seq_len=4096)
        assert (broken(job, "cp=8,ep=8") == set()) is good


def test_encoder_decoder_has_no_pipeline(make_job: Any) -> None:
    job = make_job("t5-base", devices=8, seq_len=512)
    assert "streams" in broken(job, "pp=2")
    assert "streams" not in broken(job, "tp=2")


def test_masks_agree_with_check(make_job: Any) -> None:
    """Rows judged together are judged as one by one."""
    job = make_job("mixtral-8x7b", devices=16, framework="megatron-core")
    rows = [
        Layout(tp=tp, sp=sp, pp=pp, dp=16 // (tp * pp), ep=ep, micro_batches=64 * tp * pp // 16, shard=shard)
        for tp in (1, 2, 4)
        for pp in (1, 2, 4)
        for sp in (False, True)
        for ep in (1, 3, 8)
        for shard in (Shard(), Shard(optimizer=4), Shard(1, 4, 4))
    ]
    together = legal_mask(from_layouts(rows), job)
    assert together.tolist() == [not check(job, row) for row in rows]
    assert 0 < np.count_nonzero(together) < len(rows)


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_policies_compare_by_value() -> None:
    assert Offload() == Offload(optimizer=("hbm", 0.0))
    assert Recompute("none") == Recompute()


def test_slices_need_seq1f1b_and_tokens_to_cut(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8, seq_len=4096, framework="ideal")
    assert broken(job, "pp=4,schedule=seq1f1b,slices=8") == set()
    assert broken(job, "pp=4,slices=2") == {"slices"}
    assert broken(job, "pp=4,schedule=seq1f1b,slices=4097") == {"slices"}
    (violation,) = check(job, parse_layout("pp=4,slices=2", job))
    assert (violation.knob, violation.accepted) == ("slices", (1,))


def test_an_action_list_may_have_any_chunks(make_job: Any) -> None:
    job = make_job("llama3-8b", devices=8, framework="megatron-core")
    assert broken(job, "pp=4,vpp=2,schedule=csv:a.csv") == set()
    assert broken(job, "pp=4,schedule=csv:a.csv") == set()
    assert "schedule_pipeline" in broken(job, "pp=1,schedule=csv:a.csv")


def can_be_made(name: Schedule, pp: int, vpp: int, micro_batches: int) -> bool:
    try:
        make_schedule(name, ranks=pp, chunks=vpp, micro_batches=micro_batches)
    except PlannerError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_legal_shapes_are_those_that_a_schedule_can_have(make_job: Any, name: Schedule) -> None:
    """One chunk per rank of an interleaved schedule runs, but is another schedule."""
    job = make_job("llama3-8b", devices=4)
    several = name in ("interleaved_1f1b", "looped_bfs", "interleaved_zb")
    rows = [
        Layout(pp=pp, vpp=vpp, schedule=name, micro_batches=micro_batches)
        for pp in (2, 3, 4, 6)
        for vpp in (1, 2, 3, 4)
        for micro_batches in range(1, 17)
    ]
    masks = rule_masks(from_layouts(rows), job)
    legal = masks["schedule_pipeline"] & masks["schedule_chunks"] & masks["schedule_micro_batches"]
    for row, good in zip(rows, legal.tolist(), strict=True):
        made = can_be_made(name, row.pp, row.vpp, row.micro_batches)
        assert good == (made and not (several and row.vpp == 1)), row
    assert 0 < np.count_nonzero(legal) < len(rows)


def test_dualpipe_v_needs_two_micro_batches_per_rank(make_job: Any) -> None:
    """As many as virtual stages (deepseek-ai/DualPipe; torch.distributed.pipelining)."""
    job = make_job("llama3-8b", devices=4, global_batch=8)
    assert broken(job, "pp=4,vpp=2,schedule=dualpipe_v") == set()
    assert broken(job, "pp=4,vpp=2,schedule=dualpipe_v,micro_batch=2") == {"schedule_micro_batches"}
