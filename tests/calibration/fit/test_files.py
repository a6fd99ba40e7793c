"""Calibration files: what is written is read back; the catalogue's own is sound and reaches predictions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from planner.calibration.fit.constants import RULES, Constant, Key, constant
from planner.calibration.fit.result import AT_BOUND
from planner.calibration.fit.writing import calibration_text, write_calibration
from planner.costs.evidence import evidence_of
from planner.errors import PlannerError
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import (
    CalibratedScope,
    Calibration,
    FittedConstant,
    alone,
    applied_calibration,
    calibrated_accelerator,
    default_calibration,
    is_fitted,
    kernel_value,
    load_calibration,
)
from planner.hardware.loader import load_cluster
from planner.jobs.framework import calibrated_framework, load_framework
from planner.jobs.loader import load_job
from planner.layouts.layout import Layout


def fitted(value: float, prior: float) -> FittedConstant:
    return FittedConstant(value=value, prior=prior, spread=0.1, lower=0.01, upper=1000.0, rows=7, groups=2)


def sample() -> Calibration:
    return Calibration(
        name="test",
        date="2026-01-01",
        data_sha256="0" * 64,
        rows=7,
        accelerators={
            "h100-sxm": CalibratedScope(
                members=("h100-sxm-80gb",),
                families=("mine",),
                constants={
                    "matmul_efficiency.16bit": fitted(0.5, 0.78),
                    "matmul_k_half": fitted(321.0, 200.0),
                    "attention_forward.flash": fitted(0.33, 0.5),
                },
            )
        },
        networks={
            "nvlink4-sharp": CalibratedScope(
                members=("nvlink4-sharp",),
                families=("mine",),
                constants={"in_step_efficiency": fitted(0.41, 1.0)},
            )
        },
        frameworks={
            "megatron-core": CalibratedScope(
                members=("megatron-core",), families=("mine",), constants={"hidden.dp": fitted(0.25, 0.7)}
            )
        },
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_calibration(tmp_path / "fit.yaml", sample())
    assert load_calibration(tmp_path / "fit.yaml") == sample()
    assert calibration_text(sample()).count("\n      ") == 5


def test_an_accelerator_takes_its_constants_and_keeps_the_rest() -> None:
    plain = load_accelerator("h100-sxm-80gb")
    changed = calibrated_accelerator(plain, sample())
    assert changed.kernels.matmul_efficiency["bf16"] == changed.kernels.matmul_efficiency["fp16"] == 0.5
    assert changed.kernels.matmul_efficiency["fp8"] == plain.kernels.matmul_efficiency["fp8"]
    assert changed.kernels.attention_forward["flash"] == 0.33
    assert changed.kernels.attention_backward == plain.kernels.attention_backward
    assert changed.kernels.matmul_k_half == 321.0
    assert replace(changed, kernels=plain.kernels, evidence=plain.evidence) == plain
    assert is_fitted(changed.evidence["kernels.matmul_efficiency.bf16"])
    assert not is_fitted(changed.evidence["kernels.matmul_efficiency.fp8"])
    other = load_accelerator("a100-sxm-80gb")
    assert calibrated_accelerator(other, sample()) == other


def cluster_file(tmp_path: Path) -> str:
    write_calibration(tmp_path / "fit.yaml", sample())
    (tmp_path / "mine.yaml").write_text(
        "accelerator: h100-sxm-80gb\nnodes: 2\ndevices_per_node: 8\ncalibration: fit.yaml\n"
        "network:\n  - {name: nvlink, kind: nvlink4-sharp, size: 8}\n  - {name: ib, kind: infiniband-ndr}\n"
    )
    return str(tmp_path / "mine.yaml")


def test_a_cluster_names_its_own_calibration(tmp_path: Path) -> None:
    cluster = load_cluster(cluster_file(tmp_path))
    assert cluster.accelerator.kernels.matmul_efficiency["bf16"] == 0.5
    assert cluster.network[0].in_step_efficiency == 0.41
    assert cluster.calibration == str(tmp_path / "fit.yaml")
    plain = load_cluster(cluster_file(tmp_path), calibrated=False)
    assert plain.accelerator.kernels == load_accelerator("h100-sxm-80gb").kernels
    assert plain.calibration is None
    assert cluster.network[1] == plain.network[1]


def test_a_collective_alone_does_not_feel_training_steps(tmp_path: Path) -> None:
    cluster = load_cluster(cluster_file(tmp_path))
    assert cluster.network[0].in_step_efficiency == 0.41
    assert [level.in_step_efficiency for level in alone(cluster).network] == [1.0, 1.0]


def test_a_profile_takes_its_constants_and_says_so() -> None:
    plain = load_framework("megatron-core")
    assert calibrated_framework(plain, None) is plain


def test_evidence_tells_fitted_constants_from_priors(tmp_path: Path) -> None:
    job = load_job(
        {
            "model": "llama3-8b",
            "cluster": cluster_file(tmp_path),
            "training": {"global_batch": 16, "framework": "megatron-core", "precision": "bf16"},
        }
    )
    assert job.framework.hidden.dp_reduce == 0.25
    lines = "\n".join(evidence_of(job, Layout(dp=16)))
    assert "kernels of h100-sxm-80gb in bf16: calibrated on 7 published runs (mine)" in lines
    assert "uncalibrated: links of infiniband-ndr rest on priors" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: 1\n", "name"),
        (calibration_text(sample()).replace("value: 0.5,", "value: -0.5,"), "value"),
        (calibration_text(sample()).replace("rows: 7,", "rows: 0,", 1), "rows"),
        ("", "empty"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fit.yaml").write_text(text)
    with pytest.raises(PlannerError, match=message) as error:
        load_calibration(tmp_path / "fit.yaml")
    assert "\n" not in str(error.value)


def test_two_files_join_and_none_may_define_what_another_has(tmp_path: Path) -> None:
    kernels = sample().model_copy(
        update={
            "name": "kernels",
            "data": "kernels",
            "accelerators": {},
            "networks": {},
            "frameworks": {},
            "architectures": {
                "hopper": CalibratedScope(
                    members=("hopper",), families=("gemm",), constants={"matmul_wave": fitted(0.7, 0.3)}
                )
            },
        }
    )
    write_calibration(tmp_path / "a.yaml", sample())
    write_calibration(tmp_path / "b.yaml", kernels)
    both = load_calibration(tmp_path)
    changed = calibrated_accelerator(load_accelerator("h100-sxm-80gb"), both)
    assert changed.kernels.matmul_wave == 0.7
    assert changed.kernels.matmul_efficiency["bf16"] == 0.5
    assert changed.evidence["kernels.matmul_wave"].source == "calibrated on 7 measured kernels (gemm)"
    again = sample().model_copy(update={"name": "again"})
    write_calibration(tmp_path / "c.yaml", again)
    with pytest.raises(
        PlannerError, match=r"of the accelerator h100-sxm-80gb is defined by two .*: test, again"
    ):
        load_calibration(tmp_path)


def test_a_named_file_replaces_the_catalogues_of_its_kind_of_data(tmp_path: Path) -> None:
    write_calibration(tmp_path / "runs.yaml", sample())
    found = applied_calibration(tmp_path / "runs.yaml")
    assert {part.data for part in found.parts} > {"runs"}
    assert [part.name for part in found.parts if part.data == "runs"] == ["test"]


def committed() -> Calibration:
    path = default_calibration()
    assert path is not None
    return load_calibration(path)


def test_no_constant_of_the_catalogue_is_at_a_bound() -> None:
    calibration = committed()
    checked = 0
    for part in calibration.parts or (calibration,):
        for kind, scopes in part.sections().items():
            for scope, found in scopes.items():
                for name, figure in found.constants.items():
                    made = constant(Key(kind, scope, name), figure.prior)
                    assert isinstance(made, Constant), f"{scope} {name} has no rule"
                    low, high = made.bounds
                    inside = min(made.position(figure.value) - low, high - made.position(figure.value))
                    assert inside > AT_BOUND * (high - low), f"{scope} {name} = {figure.value} is at a bound"
                    assert (figure.lower, figure.upper) == (made.rule.lower, made.rule.upper)
                    checked += 1
    assert checked > len(RULES)


def test_the_catalogue_has_few_constants() -> None:
    """Six per network kind and per framework profile, all kinds of data together; twelve per chip and precision family."""
    calibration = committed()
    names: dict[tuple[str, str], set[str]] = {}
    for part in calibration.parts or (calibration,):
        for kind, scopes in part.sections().items():
            for scope, found in scopes.items():
                names.setdefault((kind, scope), set()).update(found.constants)
    for (kind, scope), own in names.items():
        if kind == "accelerator":
            rates = {name for name in own if name.startswith("matmul_efficiency.")}
            assert len(own - rates) + 1 <= 12, scope
        elif kind in ("network", "framework"):
            assert len(own) <= 6, scope


def test_the_catalogue_applies_its_calibration() -> None:
    calibration = committed()
    cluster = load_cluster("h100-superpod")
    wanted = calibration.values("accelerator", "h100-sxm-80gb")["matmul_efficiency.16bit"]
    assert math.isclose(cluster.accelerator.kernels.matmul_efficiency["bf16"], wanted)
    assert calibrated_framework(load_framework("megatron-core"), cluster.calibration).calibrated


def test_priors_of_the_catalogue_are_those_that_the_fit_started_from() -> None:
    """A changed prior asks for a new fit."""
    for part in committed().parts:
        for scope in part.accelerators.values():
            plain = load_accelerator(scope.members[0])
            for name, fitted_constant in scope.constants.items():
                prior = kernel_value(plain, name)
                assert prior is None or prior == pytest.approx(fitted_constant.prior, rel=1e-4), name
