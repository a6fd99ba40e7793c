"""Memory figures of rows: which counter, which rank, copies, and whether what ran fits."""

from __future__ import annotations

import pytest

from planner.validation.runs.assignments import best_assignments
from planner.validation.runs.memory_scores import fit_table, memory_groups
from planner.validation.runs.predicting import answer
from tests.validation.runs.samples import expressed, family, predicted

PIPELINE = "simumax-b200-llama3-70b-l12-tp1-pp2-dp4-mbc4-cef"
MIB = 2**20


def test_each_stage_is_compared_with_its_fullest_device() -> None:
    """Eight devices, two stages: 68149.2 and 64479.5 MiB are the largest of each half; 70.88 GiB were reserved."""
    figures = {(f.kind, f.rank): f for f in predicted()[PIPELINE].memory}
    assert figures["allocated", 0].measured_bytes == pytest.approx(68149.2 * MIB)
    assert figures["allocated", 1].measured_bytes == pytest.approx(64479.5 * MIB)
    assert figures["reserved", None].measured_bytes == pytest.approx(70.88 * 1024 * MIB)
    assert set(figures) == {("allocated", 0), ("allocated", 1), ("reserved", None)}


def test_allocator_peaks_before_any_fit() -> None:
    """Megatron with Transformer Engine on B200, every stage (SimuMax): mean below 1 %, worst below 3 %."""
    found = next(g for g in memory_groups(family("simumax")) if g.memory_kind == "allocated")
    assert found.errors is not None
    assert found.errors.mean_ape <= 0.01
    assert abs(found.worst or 1.0) <= 0.03


def test_copies_of_a_layout_count_once() -> None:
    outcome = predicted()[PIPELINE]
    found = {group.memory_kind: group for group in memory_groups([outcome, outcome])}
    assert (found["allocated"].n, found["allocated"].votes) == (4, 2)


def test_first_steps_have_two_figures_per_stage() -> None:
    outcome = next(o for o in family("ascend") if "gemma2" in o.row.id and o.memory)
    assert {figure.kind for figure in outcome.memory} == {"allocated_after_first_step", "first_step_peak"}
    assert outcome.memory_doubt is not None
    assert memory_groups([outcome]) == []


def test_seconds_of_an_unnamed_device_say_nothing() -> None:
    outcome = next(o for o in family("ascend") if o.accelerator == "ascend-unnamed")
    assert outcome.predicted_s is None
    assert outcome.memory


def test_runs_that_ran_out_of_memory() -> None:
    """BLOOM's tp 8 x pp 1 and JZ's micro-batch 16 did not fit; korthikanti's runs did."""
    out = [outcome for outcome in predicted().values() if outcome.row.measured.oom]
    table = fit_table([*out, *family("korthikanti22")])
    assert (table.oom_predicted_oom, table.oom_predicted_fit) == (len(out), 0)
    assert (table.fit_predicted_oom, table.fit_predicted_fit) == (0, 8)
    assert table.wrong == ()


def test_one_assignment_explains_a_model() -> None:
    """Zero Bubble's rows (arXiv 2401.10241, table 4) fit unfused attention without recompute."""
    (found,) = best_assignments(family("zerobubble"))
    assert found.setting["recompute"] == "none"
    assert found.setting["attention"] == "unfused"
    assert found.rows == found.of == 6
    assert found.memory is not None
    assert found.memory.mean_ape <= 0.05


def test_weights_inside_their_master_copy_save_two_bytes() -> None:
    """MindSpeed's reuse-fp32-param: 6 + 10 / n bytes of states per parameter instead of 6 + 12 / n, here n = 4."""
    identity = "ascend-ci-mindspeedllm-llama2_tp2_cp4_general_double_ring"
    plain, reused = (
        answer([expressed(identity, layout={"optimizer_memory": switches})])[0].readings[0].ranks[0]
        for switches in ((), ("reuse-fp32-param",))
    )
    assert reused.after_step_bytes / plain.after_step_bytes == pytest.approx(8.5 / 9.0, rel=1e-3)
