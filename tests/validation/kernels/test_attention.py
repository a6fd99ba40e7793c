"""Published attention rates: seconds from TFLOP/s by FlashAttention's convention."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.validation.kernels import compare_kernels

HEADER = "gpu,kernel,direction,mask,batch,heads,head_dim,seq_len,tflops\n"


def write(folder: Path, rows: str) -> Path:
    file = folder / "attention_fp16.csv"
    file.write_text(HEADER + rows)
    return file


@pytest.mark.parametrize(
    ("direction", "mask", "flops"),
    [
        # 4 x 4 x 16 x 4096 x 4096 x 128 = 5.4976e11 forward over the square
        ("fwd", "none", 5.497558e11),
        ("fwd", "causal", 2.748779e11),
        ("bwd", "causal", 6.871948e11),
        ("fwd_bwd", "none", 1.924145e12),
    ],
)
def test_seconds_follow_from_the_published_rate(
    tmp_path: Path, direction: str, mask: str, flops: float
) -> None:
    file = write(tmp_path, f"h100,fa2,{direction},{mask},4,16,128,4096,200\n")
    point = compare_kernels([file]).points[0]
    assert point.measured_s == pytest.approx(flops / 200e12, rel=1e-6)
    assert point.half_width_s == pytest.approx(point.measured_s * 0.5 / 200)


def test_both_passes_cost_their_sum(tmp_path: Path) -> None:
    rows = "".join(f"a100,fa2,{one},causal,4,16,128,4096,100\n" for one in ("fwd", "bwd", "fwd_bwd"))
    forward, backward, both = (
        point.predicted_s or 0.0 for point in compare_kernels([write(tmp_path, rows)]).points
    )
    assert both == pytest.approx(forward + backward)
    assert backward > forward


def test_generations_are_told_apart(tmp_path: Path) -> None:
    """The same work: an H100 runs FlashAttention 3 faster than 2, and both faster than the unfused kernels."""
    rows = "".join(f"h100,{kernel},fwd,none,4,16,128,4096,200\n" for kernel in ("fa3", "fa2", "unfused"))
    times = [point.predicted_s for point in compare_kernels([write(tmp_path, rows)]).points]
    assert times == sorted(times, key=lambda time: time or 0.0)
    assert len(set(times)) == 3


def test_every_published_rate_is_predicted(root: Path) -> None:
    comparison = compare_kernels([root / "tests" / "data" / "kernels_attention_fp16.csv"])
    assert comparison.overall().predicted == 114
    assert comparison.assumptions == {}
    labels = [score.labels for score in comparison.scores()]
    assert {"causal, head 64", "full, head 256"} <= {str(label["band"]) for label in labels}


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ("h100,fa5,fwd,none,4,16,128,4096,200", "kernel", "did you mean 'fa"),
        ("h100,fa2,forward,none,4,16,128,4096,200", "direction", "found 'forward'"),
        ("h100,fa2,fwd,full,4,16,128,4096,200", "mask", "accepted: causal, none"),
        ("h100,fa2,fwd,none,4,16,128,4096,-1", "tflops", "above 0"),
        ("h100,fa2,fwd,none,4,16,128,4096,nan", "tflops", "above 0"),
    ],
)
def test_faults_name_their_column(tmp_path: Path, row: str, field: str, words: str) -> None:
    with pytest.raises(PlannerError) as caught:
        compare_kernels([write(tmp_path, row + "\n")])
    assert (caught.value.line, caught.value.field) == (2, field)
    assert words in caught.value.message
