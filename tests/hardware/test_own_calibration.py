"""A calibration of a user's own measurements lies over the catalogue's; one of published data replaces its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.calibration.fit.writing import write_calibration
from planner.hardware.calibration_files import (
    CalibratedScope,
    Calibration,
    Data,
    FittedConstant,
    applied_calibration,
)

KIND = "nvlink4-sharp"


def one_constant(data: Data) -> Calibration:
    found = FittedConstant(value=0.5, prior=0.8, spread=0.1, lower=0.05, upper=0.995, rows=9, groups=1)
    scope = CalibratedScope(members=(KIND,), families=("mine",), constants={"efficiency": found})
    return Calibration(
        name="mine", date="2026-01-01", data=data, data_sha256="0" * 64, rows=9, networks={KIND: scope}
    )


@pytest.mark.parametrize("data", ["steps", "log", "device", "network"])
def test_what_the_own_file_states_counts_and_all_else_stays(tmp_path: Path, data: Data) -> None:
    file = tmp_path / "mine.yaml"
    write_calibration(file, one_constant(data))
    found = applied_calibration(file)
    assert found.values("network", KIND)["efficiency"] == 0.5
    assert found.sources("network", KIND)["efficiency"].startswith("calibrated on 9 ")
    assert "in_step_efficiency" in found.values("network", KIND)  # of the catalogue's runs
    assert found.values("network", "infiniband-hdr")
    assert found.values("accelerator", "h100-sxm-80gb")
    assert found.spreads is not None


def test_a_file_of_published_collectives_replaces_the_catalogues(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    write_calibration(file, one_constant("collectives"))
    found = applied_calibration(file)
    assert set(found.values("network", KIND)) == {"efficiency", "in_step_efficiency"}
