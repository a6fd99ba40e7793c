"""Measured kernels: every row priced by the product's kernel functions, grouped by device, operator and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.costs.kernels import matmul_seconds, memory_bound_seconds
from planner.errors import PlannerError
from planner.hardware.calibration import (
    calibrated_accelerator,
    default_calibration,
    kernels_alone,
    load_calibration,
)
from planner.hardware.loader import load_accelerator
from planner.hardware.types import Accelerator
from planner.validation.kernels import compare_kernels
from planner.validation.points import Comparison


@pytest.fixture(scope="module")
def data(root: Path) -> Path:
    return root / "tests" / "data"


@pytest.fixture(scope="module")
def matmuls(data: Path) -> Comparison:
    return compare_kernels([data / "kernels_gemm_fp16.csv"])


def measured_alone(name: str) -> Accelerator:
    """As the catalogue has it, running one kernel after the other."""
    folder = default_calibration()
    assert folder is not None
    return kernels_alone(calibrated_accelerator(load_accelerator(name), load_calibration(folder)))


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_every_row_is_predicted_and_groups_are_devices_and_sizes(matmuls: Comparison) -> None:
    overall = matmuls.overall()
    assert (overall.n, overall.predicted, overall.apart) == (72, 72, 0)
    groups = {(score.labels["accelerator"], score.labels["band"]) for score in matmuls.scores()}
    devices = ("a100-sxm-80gb", "a40", "h100-sxm-80gb")
    assert groups == {(device, band) for device in devices for band in ("m >= 512", "m < 512")}


def test_times_in_whole_microseconds_have_half_of_one_to_spare(matmuls: Comparison) -> None:
    assert {point.half_width_s for point in matmuls.points} == {0.5e-6}


def test_a_row_costs_what_the_kernel_model_says_of_it_alone(tmp_path: Path) -> None:
    table = "gpu,m,n,k,time_us\nh100,512,4096,8192,60\na40,16,1280,4096,20\nh100,4096,4096,4096,300\n"
    points = compare_kernels([write(tmp_path, "gemm_fp16.csv", table)]).points
    assert [point.id for point in points] == ["gemm_fp16.csv:2", "gemm_fp16.csv:3", "gemm_fp16.csv:4"]
    for point, name, sizes in zip(
        points,
        ("h100-sxm-80gb", "a40", "h100-sxm-80gb"),
        ((512, 4096, 8192), (16, 1280, 4096), (4096, 4096, 4096)),
        strict=True,
    ):
        one = matmul_seconds(*(np.array([float(size)]) for size in sizes), measured_alone(name), "fp16")
        assert point.predicted_s == pytest.approx(float(one[0]))
    assert [point.measured_s for point in points] == pytest.approx([60e-6, 20e-6, 300e-6])


def test_the_name_of_the_file_says_the_precision(tmp_path: Path) -> None:
    table = "gpu,m,n,k,time_us\nh100,8192,8192,8192,1500\n"
    half = compare_kernels([write(tmp_path, "gemm_bf16.csv", table)]).points[0].predicted_s
    eight = compare_kernels([write(tmp_path, "gemm_fp8.csv", table)]).points[0].predicted_s
    assert half is not None
    assert eight is not None
    assert eight < 0.8 * half


def test_a_device_without_that_precision_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, "gemm_fp8.csv", "gpu,m,n,k,time_us\na100,64,64,64,9\n")
    with pytest.raises(PlannerError, match="a100-sxm-80gb has no fp8 rate") as caught:
        compare_kernels([file])
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(file), 2, "gpu")


def test_memory_bound_operators_are_told_apart(data: Path) -> None:
    comparison = compare_kernels([data / "kernels_memory_bound_fp16.csv"])
    operators = {score.labels["operator"] for score in comparison.scores()}
    assert operators == {"mlp_activation", "residual_add", "rms_or_layer_norm"}
    point = comparison.points[0]
    nbytes = float(point.subject.split()[0].replace(",", ""))
    device = measured_alone(str(point.labels["accelerator"]))
    one = memory_bound_seconds(np.array([nbytes]), device, operator="activation")
    assert point.predicted_s == pytest.approx(float(one[0]))


def test_an_unknown_device_names_file_line_and_field(tmp_path: Path) -> None:
    file = write(tmp_path, "gemm.csv", "gpu,m,n,k,time_us\na100,1,1,1,9\nh1000,1,1,1,9\n")
    with pytest.raises(PlannerError) as caught:
        compare_kernels([file])
    assert str(caught.value) == f"{file}:3: gpu: unknown accelerator 'h1000': did you mean 'h100'?"


def test_a_folder_holds_all_kinds_of_tables(data: Path) -> None:
    comparison = compare_kernels([data])
    assert comparison.overall().n == 72 + 72 + 96 + 114
    assert comparison.overall().refused == 0


def test_matmuls_of_the_sample_are_near_the_model(matmuls: Comparison) -> None:
    medians = {tuple(score.labels.values())[1:]: score.median_ape for score in matmuls.scores()}
    assert all(median is not None and median < 0.06 for median in medians.values()), medians


def test_predictions_by_priors_stand_beside(matmuls: Comparison) -> None:
    score = matmuls.scores()[0]
    assert set(score.others) == {"priors only"}
    assert 0.0 < score.others["priors only"][0] < 0.2
