"""Constants of kernels: tables made with known constants give them back, also to rows that were left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.calibration.fit.constants import Key, constant
from planner.calibration.fit.kernel_folds import FOLDS, LEFT_OUT, compare_with_left_out, fold_numbers
from planner.calibration.fit.kernels import fit_kernels, read_blocks
from planner.calibration.fit.kinds import data_of
from planner.costs.kernels import matmul_seconds
from planner.errors import PlannerError
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import (
    default_calibration,
    kernels_alone,
    load_calibration,
    with_kernels,
)

WEIGHTS = (
    (4096, 4096),
    (4096, 11008),
    (8192, 8192),
    (2560, 10240),
    (12288, 4096),
    (5120, 13824),
    (1024, 8192),
)


def matmul_table(folder: Path) -> Path:
    """Matmuls of an A100 whose plateau is .7 and whose launch takes 7 us, in tenths of microseconds."""
    plain = load_accelerator("a100-sxm-80gb")
    device = kernels_alone(with_kernels(plain, {"alone.matmul": 0.7, "launch_s": 7e-6}))
    sizes = [(m, n, k) for n, k in WEIGHTS for m in (16, 128, 640, 1024, 2048, 4096, 8192)]
    m, n, k = (np.array(values, dtype=np.float64) for values in zip(*sizes, strict=True))
    times = matmul_seconds(m, n, k, device, "fp16") * 1e6
    lines = [f"a100,{a},{b},{c},{time:.1f}" for (a, b, c), time in zip(sizes, times, strict=True)]
    file = folder / "gemm_fp16.csv"
    file.write_text("gpu,m,n,k,time_us\n" + "\n".join(lines) + "\n")
    return file


def test_known_constants_are_found_again(tmp_path: Path) -> None:
    calibration = fit_kernels([matmul_table(tmp_path)])
    assert calibration.data == "kernels"
    assert calibration.rows == 49
    chip = calibration.accelerators["a100-sxm"]
    assert chip.constants["alone.matmul"].value == pytest.approx(0.7, rel=0.01)
    assert "a100-sxm-40gb" in chip.members
    shared = calibration.architectures["ampere"].constants
    assert shared["launch_s"].value == pytest.approx(7e-6, rel=0.1)
    assert shared["matmul_wave"].value == pytest.approx(shared["matmul_wave"].prior, abs=0.05)


def test_left_out_shapes_are_predicted_by_the_others(tmp_path: Path) -> None:
    comparison = compare_with_left_out([matmul_table(tmp_path)])
    for score in comparison.scores():
        assert score.others[LEFT_OUT][0] < 0.01
    assert all(set(point.others) == {LEFT_OUT, "priors only"} for point in comparison.points)


def test_a_single_row_left_out_is_predicted_by_priors(tmp_path: Path) -> None:
    file = tmp_path / "gemm_fp16.csv"
    file.write_text("gpu,m,n,k,time_us\nh100,4096,4096,4096,300\n")
    point = compare_with_left_out([file]).points[0]
    assert point.others[LEFT_OUT] == pytest.approx(point.others["priors only"])


def test_equal_keys_share_a_fold_and_folds_are_even() -> None:
    keys = [(n, n % 7) for n in range(50)] * 2
    numbers = fold_numbers(keys)
    assert (numbers[:50] == numbers[50:]).all()
    assert sorted(np.bincount(numbers).tolist()) == [20] * FOLDS


def test_generations_of_attention_are_fitted_apart(root: Path) -> None:
    blocks = read_blocks([root / "tests" / "data" / "kernels_attention_fp16.csv"])
    keys = [{str(made.key) for made in block.constants} for block in blocks]
    assert {"a100-sxm alone.flash2", "h100-sxm alone.flash2", "flash2 causal_half"} <= keys[0]
    assert all(not one & other for i, one in enumerate(keys) for other in keys[:i])


def test_every_kernel_constant_has_a_rule() -> None:
    kernels = load_accelerator("h100-sxm-80gb").kernels
    for name in ("matmul_tile_k", "matmul_wave", "matmul_stride", "matmul_traffic", "launch_s", "floor_s"):
        assert constant(Key("architecture", "hopper", name), getattr(kernels, name)) is not None


def test_kinds_of_data_are_told_apart(root: Path, tmp_path: Path) -> None:
    data = root / "tests" / "data"
    assert data_of([data / "runs"]) == "runs"
    assert data_of([data / "kernels_gemm_fp16.csv", data / "kernels_attention_fp16.csv"]) == "kernels"
    assert data_of([data / "kernels_collectives_nvlink.csv"]) == "collectives"
    assert data_of([data / "collectives_published.yaml"]) == "collectives"
    with pytest.raises(PlannerError, match=r"kernels in kernels_gemm_fp16.csv.*one kind at a time"):
        data_of([data / "kernels_gemm_fp16.csv", data / "runs"])
    with pytest.raises(PlannerError, match="fit them apart"):
        read_blocks([data / "kernels_collectives_nvlink.csv"])


def test_constants_per_accelerator_stay_few() -> None:
    """At most twelve per accelerator and precision family, those of kernels and those of runs together."""
    folder = default_calibration()
    assert folder is not None
    calibration = load_calibration(folder)
    other_families = ("8bit", "fp8", "mxfp8", "nvfp4")
    for part in calibration.parts:
        for chip, scope in part.accelerators.items():
            fitted = calibration.values("accelerator", scope.members[0])
            names = [name for name in fitted if name.split(".")[-1] not in other_families]
            ruled = [name for name in names if constant(Key("accelerator", chip, name), fitted[name])]
            assert len(ruled) <= 12, (chip, ruled)
