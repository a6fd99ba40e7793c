"""Constants of links from timings: those that made the timings are found again, and what counts is said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from planner.calibration.fit.collectives import fit_collectives
from planner.errors import PlannerError
from planner.hardware.calibration import Calibration, default_calibration, load_calibration

HEAD = "node,collective,ranks,ranks_per_node,bytes,time_us\n"
SIZES = [2**power for power in range(14, 30)]
LARGE = [size for size in SIZES if size >= 2**22]


def ring_us(nbytes: int, ranks: int, start_s: float, efficiency: float, ramp: float) -> float:
    """All-reduce over NVLink 4: 450 GB/s, hops of 0.94 us, of which a pair feels two per pass."""
    hops = 2 * (ranks - 1)
    felt = 4 if ranks == 2 else hops
    transfer = 2 * (ranks - 1) / ranks * nbytes / (450e9 * efficiency)
    return 1e6 * (start_s + hops * 0.94e-6 + transfer + 2 * ramp * math.sqrt(felt * 0.94e-6 * transfer))


def table(folder: Path, lines: list[str]) -> Path:
    file = folder / "sweep.csv"
    file.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return file


def values(calibration: Calibration, kind: str) -> dict[str, float]:
    return {name: figure.value for name, figure in calibration.networks[kind].constants.items()}


def test_the_constants_that_made_a_sweep_are_found(tmp_path: Path) -> None:
    lines = [
        f"h100_dgx,all_reduce,{ranks},{ranks},{size},{ring_us(size, ranks, 20e-6, 0.7, 0.6):.3f}"
        for ranks in (2, 4)
        for size in LARGE
    ]
    found = values(fit_collectives([table(tmp_path, lines)]), "nvlink4-sharp")
    assert found["start_s"] == pytest.approx(20e-6, rel=0.15)
    assert found["efficiency"] == pytest.approx(0.7, rel=0.03)
    assert found["ramp"] == pytest.approx(0.6, rel=0.15)
    assert "in_network_efficiency" not in found  # switches add from five members on


def test_a_few_wrong_timings_do_not_matter(tmp_path: Path) -> None:
    lines = []
    for ranks in (2, 4):
        for place, size in enumerate(LARGE):
            slow = 4.0 if place == 3 else 1.0
            micro = slow * ring_us(size, ranks, 20e-6, 0.7, 0.6)
            lines.append(f"h100_dgx,all_reduce,{ranks},{ranks},{size},{micro:.3f}")
    found = values(fit_collectives([table(tmp_path, lines)]), "nvlink4-sharp")
    assert found["efficiency"] == pytest.approx(0.7, rel=0.05)


def test_kernels_that_waited_for_a_slow_host_say_nothing_of_the_links(tmp_path: Path) -> None:
    """Every second kernel lasts at least the 55 us from one call to the next."""
    lines = []
    for ranks in (2, 4):
        for place, size in enumerate(SIZES):
            alone = ring_us(size, ranks, 12e-6, 0.7, 0.6)
            micro = max(alone, 55.0) if place % 2 else alone
            lines.append(f"h100_dgx,all_reduce,{ranks},{ranks},{size},{micro:.3f}")
    found = values(fit_collectives([table(tmp_path, lines)]), "nvlink4-sharp")
    assert found["start_s"] == pytest.approx(12e-6, rel=0.15)
    assert found["efficiency"] == pytest.approx(0.7, rel=0.03)
    assert set(found) == {"start_s", "efficiency", "ramp"}


def test_a_send_has_a_start_of_its_own(tmp_path: Path) -> None:
    lines = [f"a100_dgx,send_recv,2,2,{size},{1e6 * (15e-6 + 1.25e-6 + size / 240e9):.3f}" for size in SIZES]
    found = values(fit_collectives([table(tmp_path, lines)]), "nvlink3")
    assert found["message_start_s"] == pytest.approx(15e-6, rel=0.1)
    assert set(found) <= {"message_start_s", "efficiency"}


def test_what_leaves_the_priors_as_they_are_is_not_fitted(tmp_path: Path) -> None:
    """The hardware figures of H100: 7 us, 0.82, ramp 1."""
    lines = [f"h100_dgx,all_reduce,4,4,{size},{ring_us(size, 4, 7e-6, 0.82, 1.0):.4f}" for size in LARGE]
    with pytest.raises(PlannerError, match="no timing"):
        fit_collectives([table(tmp_path, lines)])


@pytest.mark.parametrize(
    "lines",
    [
        [f"h100_dgx,all_reduce,4,4,{2**power},90" for power in range(20, 27)],  # seven timings
        [f"h100_dgx,all_reduce,16,8,{size},900" for size in SIZES],  # network not stated
        [f"a40_pairwise_nvlink,send_recv,2,2,{size},90" for size in SIZES],  # doubted
    ],
)
def test_what_does_not_count_is_not_fitted(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(PlannerError, match="no timing"):
        fit_collectives([table(tmp_path, lines)])


def test_a_kind_of_network_has_six_constants_at_most() -> None:
    """Over all files of the catalogue together."""
    folder = default_calibration()
    assert folder is not None
    calibration = load_calibration(folder)
    counts: dict[str, int] = {}
    for part in calibration.parts or (calibration,):
        for kind, scope in part.networks.items():
            counts[kind] = counts.get(kind, 0) + len(scope.constants)
    assert len(counts) > 10
    assert max(counts.values()) <= 6
