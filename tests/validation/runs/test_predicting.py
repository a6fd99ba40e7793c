"""Rows priced together are what each is on its own, and what ``predict`` says."""

from __future__ import annotations

import pytest

from planner.costs.predict import predict
from planner.validation.runs.predicting import answer
from planner.validation.runs.readings import Reading
from tests.validation.runs.samples import expressed, predicted, rows

SAME_AS_PREDICT = (
    "korthikanti22-tab5-22b-sp-selective",
    "korthikanti22-tab5-530b-full",
    "simumax-b200-llama3-70b-l12-tp1-pp2-dp4-mbc4-cef",
    "titan-2412-70b-g256-2d",
    "vtrain-multi-0031",
)


def reading(identity: str) -> Reading:
    return predicted()[identity].readings[0]


@pytest.mark.parametrize("identity", [name for name in SAME_AS_PREDICT if name in rows()])
def test_a_row_of_a_batch_is_the_single_prediction(identity: str) -> None:
    found = reading(identity)
    alone = predict(found.variant.job, found.variant.layout)
    assert found.step_time_s == pytest.approx(alone.step_time_s, rel=1e-12)
    assert found.interval_s == pytest.approx(alone.interval_s, rel=1e-9)
    assert found.device_used_bytes == pytest.approx(alone.memory.device_used_bytes)
    assert found.parts["host"] == pytest.approx(alone.time.host_s, abs=1e-12)
    assert found.parts["optimizer"] == pytest.approx(alone.time.optimizer_s)


def test_rank_memory_is_the_single_prediction() -> None:
    found = reading("simumax-b200-llama3-70b-l12-tp1-pp2-dp4-mbc4-cef")
    alone = predict(found.variant.job, found.variant.layout)
    assert [r.peak_bytes for r in found.ranks] == pytest.approx([r.memory.peak_bytes for r in alone.ranks])
    assert [r.reserved_bytes for r in found.ranks] == pytest.approx(
        [r.memory.reserved_bytes for r in alone.ranks]
    )


def test_company_changes_nothing() -> None:
    names = [name for name in rows() if name.startswith("vtrain-single")]
    together = answer([expressed(name) for name in names])
    for name, found in zip(names, together, strict=True):
        assert found.readings[0].step_time_s == pytest.approx(reading(name).step_time_s, rel=1e-12)


def test_the_parts_are_the_step() -> None:
    for outcome in predicted().values():
        for found in outcome.readings:
            assert sum(found.parts.values()) == pytest.approx(found.step_time_s, rel=1e-6)


def test_states_before_the_first_update_have_no_moments() -> None:
    """The peak of a first step is below the steady one by at most Adam's two moments."""
    found = reading("frontier-ornl-log-175b-g128-z1")
    for rank in found.ranks:
        assert rank.after_step_bytes <= rank.first_step_peak_bytes <= rank.peak_bytes * (1 + 1e-12)


def test_physically_illegal_layouts_name_the_rule() -> None:
    """64 heads cannot be split 48 ways; no framework can run that."""
    identity = "korthikanti22-tab5-22b-sp-selective"
    found = expressed(identity, layout={"tp": 48, "dp": None}, hardware={"count": 48})
    (answered,) = answer([found])
    assert answered.readings == ()
    assert answered.refused is not None
    assert answered.refused.startswith("illegal layout: tp x ulysses must divide the attention heads")


def test_schedules_without_a_closed_form_are_simulated() -> None:
    """The V schedules keep less the more they wait (arXiv 2405.15362): V-Min below V-Half below ZB-V, each slower."""
    changes = {"recompute": "none", "precision": "bf16", "attention": "flash"}
    found = [
        expressed(
            "zerobubble-tab4-1.5b-zb-2p-m24",
            layout={"schedule": name, **changes},
            model={"vocab": 51200, "layers": 32},
        )
        for name in ("v-min", "v-half", "zbv")
    ]
    readings = [answered.readings[0] for answered in answer(found)]
    assert readings[0].device_used_bytes < readings[1].device_used_bytes < readings[2].device_used_bytes
    assert readings[0].step_time_s > readings[1].step_time_s > readings[2].step_time_s
    assert all(sum(r.parts.values()) == pytest.approx(r.step_time_s, rel=1e-6) for r in readings)
