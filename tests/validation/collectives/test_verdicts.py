"""Sweeps against their bars: held-out halves, scatter of neighbours, what is missed and why."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from planner.validation.collectives.held_out import HALF, HARDWARE
from planner.validation.collectives.verdicts import (
    BARS,
    COMMITTED,
    JudgedComparison,
    SweepVerdict,
    judge_collectives,
)

HEAD = "node,collective,ranks,ranks_per_node,bytes,time_us\n"
SIZES = [2**power for power in range(13, 29)]


def judged(
    folder: Path, times: list[float], node: str = "h100_dgx", collective: str = "all_reduce"
) -> JudgedComparison:
    file = folder / "sweep.csv"
    rows = (
        f"{node},{collective},2,2,{size},{micro:.2f}\n" for size, micro in zip(SIZES, times, strict=False)
    )
    file.write_text(HEAD + "".join(rows))
    return judge_collectives([file])


def only(comparison: JudgedComparison) -> SweepVerdict:
    (verdict,) = comparison.verdicts
    return verdict


def curve(start_us: float, rate: float) -> list[float]:
    """a + S/A + k sqrt(S), S in bytes."""
    return [start_us + 1e6 * size / rate + 0.01 * math.sqrt(size) for size in SIZES]


def test_half_of_a_smooth_sweep_gives_the_other_half(tmp_path: Path) -> None:
    """Later than the host's calls follow one another, and half as fast as the hardware says."""
    verdict = only(judged(tmp_path, curve(40, 180e9)))
    assert [band.band for band in verdict.bands] == ["< 1 MiB", "1-64 MiB", ">= 64 MiB"]
    assert [band.n for band in verdict.bands] == [7, 6, 3]
    for band in verdict.bands:
        assert band.medians[HALF] < BARS[HALF][band.band] / 2
        assert band.medians[HARDWARE] > 2 * band.medians[HALF]
        assert band.biases[HARDWARE] < 0
        assert COMMITTED in band.medians
    assert verdict.bands[1].misses == {HARDWARE: "too fast"}


def test_a_sweep_of_two_values_is_no_curve(tmp_path: Path) -> None:
    """Times that jump between 8 and 40 us in no order of size."""
    verdict = only(judged(tmp_path, [8.0, 40.0] * 7))
    assert verdict.bands[0].scatter == pytest.approx((4.0 + 0.8) / 2, rel=0.7)
    assert "scatter" in verdict.bands[0].misses[HALF]


def test_kernels_that_seldom_wait_are_predicted_without_a_wait(tmp_path: Path) -> None:
    """One in eight lasts at least 60 us, from one call of the slowest host to the next."""
    alone = curve(12, 300e9)
    times = [max(time, 60.0) if place % 8 in (3, 4) else time for place, time in enumerate(alone)]
    small = only(judged(tmp_path, times)).bands[0]
    assert small.medians[HALF] < 0.15 < small.medians[HARDWARE]


def test_a_short_sweep_is_not_judged(tmp_path: Path) -> None:
    comparison = judged(tmp_path, curve(20, 180e9)[:7])
    assert comparison.verdicts == ()
    assert len(comparison.points) == 7
    assert not comparison.points[0].others


def test_sends_over_a_bridge_of_a100_exceed_the_wire_and_are_doubted(tmp_path: Path) -> None:
    """33 MiB in 107 us are 316 GB/s over 300; the same label between nodes only leaves its network open."""
    assert 33024 * 1024 / 107e-6 > 300e9
    comparison = judged(tmp_path, curve(8, 310e9), "a100_pairwise_nvlink", "send_recv")
    assert "one side alone" in (only(comparison).apart or "")
    assert comparison.overall().apart == comparison.overall().n == len(SIZES)


def test_the_answer_as_json(tmp_path: Path) -> None:
    answer = judged(tmp_path, curve(40, 180e9)).to_json()
    (sweep,) = answer["sweeps"]
    assert (sweep["family"], sweep["ranks"], sweep["n"]) == ("h100_dgx", 2, 16)
    middle = sweep["bands"][1]
    assert set(middle["median_ape"]) == {HARDWARE, HALF, COMMITTED}
    assert middle["misses"] == {HARDWARE: "too fast"}
    assert set(answer["rows"][0]["others"]) == {HARDWARE, HALF}


def test_published_sweeps_of_the_sample(root: Path) -> None:
    """Bands of three sizes and more, halves of four timings. The one miss: on 8 A100 the time doubles from 8 to 16 MiB, where
    the library changes its protocol."""
    comparison = judge_collectives([root / "tests" / "data" / "collectives_published.yaml"])
    assert len(comparison.verdicts) >= 3
    missed = {
        (verdict.labels["family"], band.band)
        for verdict in comparison.verdicts
        for band in verdict.bands
        if HALF in band.misses and band.n >= 3
    }
    assert missed == {("mleng_a100_node", "1-64 MiB")}
