"""Constants change what belongs to their scope, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibration.fit.constants import RULES, Constant, Key, chip_of, constant, links_of, members_of
from planner.calibration.fit.problem import Problem, vote_weights
from planner.calibration.fit.scopes import at_priors, constants_of, with_values
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import plateau_name, with_kernels
from planner.jobs.framework import load_framework, with_constants
from tests.calibration.fit.problems import published


@pytest.fixture(scope="module")
def sample() -> Problem:
    return published()


def test_boards_of_one_chip_share_a_scope() -> None:
    assert chip_of("a100-sxm-40gb") == chip_of("a100-sxm-80gb") == "a100-sxm"
    assert chip_of("h100-pcie-80gb") == "h100-pcie-80gb"
    assert members_of(Key("accelerator", "v100-sxm", "x")) == ("v100-sxm-16gb", "v100-sxm-32gb")
    assert members_of(Key("network", "nvlink4", "in_step_efficiency")) == ("nvlink4",)


def test_links_of_one_device_share_a_constant() -> None:
    assert links_of("hccn-910b") == links_of("hccs-910b")
    assert links_of("nvlink4") == "nvlink4"
    assert members_of(Key("network", links_of("hccs-910b"), "in_step_efficiency")) == (
        "hccs-910b",
        "hccn-910b",
    )


def test_fp8_and_mxfp8_share_a_plateau() -> None:
    """One family, as bf16 and fp16 are; nvfp4 and int8 have other units or rates."""
    plain = load_accelerator("gb200-nvl72")
    assert [plateau_name(p) for p in ("bf16", "fp16", "fp8", "mxfp8")] == [
        "matmul_efficiency.16bit",
        "matmul_efficiency.16bit",
        "matmul_efficiency.8bit",
        "matmul_efficiency.8bit",
    ]
    assert plateau_name("nvfp4") == "matmul_efficiency.nvfp4"
    changed = with_kernels(plain, {"matmul_efficiency.8bit": 0.6}).kernels.matmul_efficiency
    assert (changed["fp8"], changed["mxfp8"]) == (0.6, 0.6)
    assert changed["nvfp4"] == plain.kernels.matmul_efficiency["nvfp4"]


def test_values_of_other_scopes_leave_a_job_alone(sample: Problem) -> None:
    for batch in sample.batches:
        foreign = {
            Key("accelerator", "nowhere", "matmul_k_half"): 9.0,
            Key("network", "nowhere", "in_step_efficiency"): 0.1,
            Key("framework", "nowhere", "elementwise_factor"): 5.0,
        }
        assert with_values(batch.job, foreign) == batch.job


def test_own_values_arrive(sample: Problem) -> None:
    batch = sample.batches[0]
    keys = dict(constants_of(batch.job, batch.layouts))
    changed = with_values(batch.job, {key: 0.5 * value for key, value in keys.items()})
    again = dict(constants_of(changed, batch.layouts))
    for key, prior in keys.items():
        if key.name in ("host_factor", "expert_factor", "in_step_efficiency"):
            continue  # their priors do not come from the job
        assert again[key] == pytest.approx(0.5 * prior), key
    assert changed.training is batch.job.training
    assert changed.model is batch.job.model


def test_at_most_twelve_constants_per_chip_and_precision_and_six_elsewhere(sample: Problem) -> None:
    counts: dict[tuple[str, str], list[str]] = {}
    for made in sample.constants:
        counts.setdefault((made.key.kind, made.key.scope), []).append(made.key.name)
    for (kind, scope), names in counts.items():
        if kind != "accelerator":
            assert len(names) <= 6, scope
            continue
        shared = [name for name in names if not name.startswith("matmul_efficiency")]
        assert len(shared) + 1 <= 12, scope


def test_a_share_that_a_profile_states_as_zero_stays_zero() -> None:
    profile = load_framework("deepspeed")
    changed = with_constants(profile, {"hidden.dp": 0.9, "hidden.tp": 0.9})
    assert changed.hidden.dp_reduce == 0.9
    assert changed.hidden.tp == 0.0
    pipelined = with_constants(load_framework("megatron-deepspeed"), {"hidden.dp": 0.9})
    assert pipelined.hidden.dp_reduce == pipelined.hidden.dp_gather == 0.0


def test_factors_of_host_work_multiply_the_profile() -> None:
    profile = load_framework("megatron-core")
    changed = with_constants(profile, {"host_factor": 2.0, "expert_factor": 3.0})
    assert changed.host.forward_operator_s == pytest.approx(2.0 * profile.host.forward_operator_s)
    assert changed.host.expert_s == pytest.approx(3.0 * profile.host.expert_s)
    assert changed.host.step_s == profile.host.step_s


@given(st.sampled_from(RULES), st.floats(0.02, 0.98), st.floats(-8.0, 8.0))
def test_positions_and_values_are_inverse(rule: object, prior: float, position: float) -> None:
    made = Constant(Key("framework", "x", "y"), prior, rule)  # type: ignore[arg-type]
    assert made.position(made.value(position)) == pytest.approx(position, abs=1e-6)
    assert made.value(made.centre) == pytest.approx(prior)
    assert made.spread > 0


def test_small_steps_in_spreads_are_small_steps_of_the_value() -> None:
    """A tenth of the spread moves an efficiency by a tenth of its log deviation, a share by a tenth of its own."""
    made = constant(Key("accelerator", "x", "matmul_efficiency.16bit"), 0.78)
    assert made is not None
    value = made.value(made.centre + 0.01 * made.spread)
    assert math.log(value / 0.78) == pytest.approx(0.01 * made.rule.spread, rel=0.02)
    share = constant(Key("framework", "x", "hidden.dp"), 0.7)
    assert share is not None
    assert share.value(share.centre + 0.01 * share.spread) - 0.7 == pytest.approx(0.01 * 0.25, rel=0.02)


def test_constants_without_a_rule_or_outside_their_bounds_are_not_fitted() -> None:
    assert constant(Key("framework", "x", "unheard_of"), 1.0) is None
    assert constant(Key("framework", "x", "hidden.tp"), 0.0) is None


def test_groups_weigh_the_root_of_their_votes(sample: Problem) -> None:
    weights = vote_weights(sample.measurements)
    groups = {m.group for m in sample.measurements}
    for group in groups:
        mine = [i for i, m in enumerate(sample.measurements) if m.group == group]
        votes = len({sample.measurements[i].vote for i in mine})
        assert float(np.sum(weights[mine])) == pytest.approx(math.sqrt(votes))


def test_without_fitted_constants_a_run_keeps_the_kernels_of_its_release(sample: Problem) -> None:
    job = sample.batches[0].job
    stated = load_framework(job.framework.name)
    fitted = with_constants(stated, {"elementwise_factor": 1.7, "host_factor": 3.0})
    older = fitted.model_copy(update={"flash_kernel": {"default": "flash1"}, "calibrated": "some runs"})
    plain = at_priors(replace(job, framework=older), lambda key, build: build()).framework
    assert plain.flash_kernel == {"default": "flash1"}
    assert plain == stated.model_copy(update={"flash_kernel": {"default": "flash1"}})
