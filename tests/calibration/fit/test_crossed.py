"""Left-out predictions of a few published rows: stored, printed, and read back with the calibration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from planner.calibration.fit.crossed import measured_shares
from planner.calibration.fit.folds import left_out, model_folds
from planner.calibration.fit.plain import ROW, left_out_path, to_json, write_left_out
from planner.calibration.fit.report import FitOptions, FitReport, fit_runs
from planner.calibration.fit.writing import write_calibration
from planner.documents import load_document
from planner.hardware.calibration import load_calibration
from planner.hardware.loader import load_cluster
from planner.hardware.spreads import Spreads
from tests.calibration.fit.problems import RUNS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    """A fit to Korthikanti's eight rows and vTrain's six."""
    rows = load_document(RUNS / "published.yaml").data["runs"]
    few = [row for row in rows if row["family"] == "korthikanti22" or row["id"].startswith("vtrain-multi")]
    path = tmp_path_factory.mktemp("few") / "rows.yaml"
    path.write_text(json.dumps({"runs": few}), encoding="utf-8")
    return fit_runs([path], FitOptions(renewals=1, workers=1))


def test_every_row_is_predicted_without_its_model_and_its_family(found: FitReport) -> None:
    crossed = found.crossed
    assert crossed is not None
    rows = len(found.problem.measurements)
    assert crossed.model_out.shape == crossed.family_out.shape == (rows,)
    assert np.isfinite(crossed.model_out).all()
    assert set(crossed.coverage[0]) == {"korthikanti22", "vtrain"}
    assert min(tried.model_out for tried in crossed.tried) == pytest.approx(
        next(t.model_out for t in crossed.tried if t.stiffness == crossed.stiffness[0])
    )


def test_left_out_errors_are_larger_than_in_sample(found: FitReport) -> None:
    """Means over two small groups; one family left out leaves nothing of its framework."""
    answer = to_json(found, 1.0)
    assert answer["macro"]["in_sample"] <= answer["macro"]["family_out"]
    assert answer["dense_macro"] == answer["macro"]
    assert answer["experts"] == []


def test_shares_add_up_to_the_step(found: FitReport) -> None:
    total = sum(measured_shares(found.problem, found.fit).values(), np.zeros(len(found.problem.measurements)))
    assert total == pytest.approx(1.0)


def test_a_refit_is_no_worse_on_what_it_was_fitted_to_than_a_linear_step(found: FitReport) -> None:
    """Both leave the same rows out; they differ by less than their errors."""
    problem, fit = found.problem, found.fit
    folds = model_folds(problem)
    linear = left_out(problem, fit, folds, 0.01, method="linear", workers=1)
    refit = left_out(problem, fit, folds, 0.01, method="refit", workers=1)
    assert np.abs(linear - refit).max() < 0.1


def test_the_file_beside_the_calibration(found: FitReport, tmp_path: Path) -> None:
    calibration = tmp_path / "mine.yaml"
    write_calibration(calibration, found.calibration)
    path = left_out_path(calibration)
    assert path.name == "mine.left-out.json"
    write_left_out(path, found, 12.3)
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert tuple(stored["row_fields"]) == ROW
    assert len(stored["rows"]) == len(found.problem.measurements)
    first = dict(zip(ROW, stored["rows"][0], strict=True))
    assert first["measured_s"] == pytest.approx(found.problem.measurements[0].seconds, rel=1e-4)
    assert stored["data_sha256"] == found.calibration.data_sha256


def test_clusters_take_the_spreads_of_their_calibration(found: FitReport, tmp_path: Path) -> None:
    calibration = tmp_path / "mine.yaml"
    write_calibration(calibration, found.calibration)
    assert found.crossed is not None
    assert load_calibration(calibration).spreads == found.crossed.spreads
    mapping = {
        "accelerator": "a100-sxm-80gb",
        "nodes": 1,
        "devices_per_node": 8,
        "network": [{"name": "nvlink", "kind": "nvlink3", "size": 8}],
        "calibration": str(calibration),
    }
    assert load_cluster(mapping).spreads == found.crossed.spreads
    assert load_cluster(mapping, calibrated=False).spreads == Spreads()
