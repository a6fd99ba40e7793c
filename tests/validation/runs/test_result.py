"""The JSON that programs read."""

from __future__ import annotations

import json

from planner.validation.runs.result import to_json
from planner.validation.runs.score import score
from tests.validation.runs.samples import predicted

GROUP = {
    "family", "accelerator", "n", "predicted", "median_ape", "mean_ape", "p90_ape", "bias", "kendall_tau",
    "regret_mean", "coverage", "interval_width_median",
}  # fmt: skip
ROW = {
    "id", "measured_s", "predicted_s", "interval_s", "error", "measured_bytes", "predicted_bytes", "refused_because",
}  # fmt: skip
FIT = {"oom_predicted_oom", "oom_predicted_fit", "fit_predicted_oom", "fit_predicted_fit"}


def test_every_documented_key_is_there() -> None:
    answer = json.loads(json.dumps(to_json(score(list(predicted().values())), 1.0), allow_nan=False))
    assert all(set(group) >= GROUP for group in answer["groups"])
    assert set(answer["overall"]) >= {"macro_median_ape", "macro_p90_ape", "n", "predicted", "refused"}
    assert set(answer["memory"]["fit_table"]) >= FIT
    assert all("memory_kind" in group for group in answer["memory"]["groups"])
    assert all(set(item) >= {"rows", "tau", "regret"} for item in answer["sets"])
    assert len(answer["rows"]) == len(predicted())
    assert all(set(row) >= ROW for row in answer["rows"])


def test_errors_are_predicted_over_measured() -> None:
    answer = to_json(score(list(predicted().values())), 1.0)
    for row in answer["rows"]:
        if row["error"] is not None:
            assert row["error"] == row["predicted_s"] / row["measured_s"] - 1
            assert row["interval_s"][0] < row["predicted_s"] < row["interval_s"][1]
        if row["scored"] == "complete":
            assert row["predicted_s"] is not None or row["refused_because"]
