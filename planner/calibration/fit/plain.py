"""A fit as plain data: what ``plan calibrate fit --json`` prints, and the file of left-out predictions beside a calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from planner.calibration.fit.crossed import Crossed
from planner.calibration.fit.report import FitReport
from planner.calibration.fit.result import group_errors, macro_errors
from planner.calibration.fit.solve import targets
from planner.documents import write_text

ROW = ("id", "measured_s", "priors_s", "in_sample_s", "model_out_s", "family_out_s")
"""Fields of a row of the file, in this order."""


def to_json(found: FitReport, seconds: float) -> dict[str, Any]:
    """Plain data; errors are fractions.

    Args:
        seconds: that the fit took.
    """
    return {
        "calibration": found.calibration.model_dump(mode="json"),
        **errors_of(found),
        "at_bound": [str(key) for key in found.bounds],
        "seconds": seconds,
    }


def errors_of(found: FitReport) -> dict[str, Any]:
    """Errors by group of all rows, of dense models, and with experts by model; macro figures; what leaving out found."""
    crossed = found.crossed
    model, family = (None, None) if crossed is None else (crossed.model_out, crossed.family_out)
    dense = group_errors(found.problem, found.fit, model, family, "dense")
    experts = group_errors(found.problem, found.fit, model, family, "experts")
    return {
        "groups": [asdict(group) for group in found.groups],
        "dense": [asdict(group) for group in dense],
        "experts": [asdict(group) for group in experts],
        "macro": asdict(macro_errors(found.groups)),
        "dense_macro": asdict(macro_errors(dense)),
        "experts_macro_mean": asdict(macro_errors(experts, "mean_ape", smallest=1)),
        "left_out": None if crossed is None else _left_out(crossed),
    }


def _left_out(crossed: Crossed) -> dict[str, Any]:
    first, second = crossed.covered
    return {
        "method": crossed.method,
        "stiffness": {"model_out": crossed.stiffness[0], "family_out": crossed.stiffness[1]},
        "tried": [asdict(tried) for tried in crossed.tried],
        "spreads": crossed.spreads.model_dump(),
        "coverage": {"model_out": first, "family_out": second},
        "interval_width_median": crossed.width,
        "families": [
            {"family": name, "model_out": asdict(model), "family_out": asdict(crossed.coverage[1][name])}
            for name, model in crossed.coverage[0].items()
        ],
    }


def left_out_path(calibration: str | Path) -> Path:
    """The file of left-out predictions of a calibration file."""
    return Path(calibration).with_suffix(".left-out.json")


def write_left_out(path: str | Path, found: FitReport, seconds: float) -> None:
    """Write errors and the rows behind them, whole or not at all; one line per row, so that changes read as lines."""
    head: Mapping[str, Any] = {
        "data_sha256": found.calibration.data_sha256,
        "date": found.calibration.date,
        "seconds": round(seconds, 1),
        **errors_of(found),
        "row_fields": ROW,
    }
    body = json.dumps(head, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in _rows(found))
    write_text(path, f'{body},\n "rows": [\n{rows}\n ]\n}}\n')


def _rows(found: FitReport) -> list[list[Any]]:
    crossed, fit = found.crossed, found.fit
    out = () if crossed is None else (crossed.model_out, crossed.family_out)
    columns = [np.exp(logs) for logs in (targets(found.problem), fit.prior_seconds, fit.linear.seconds, *out)]
    return [
        [measurement.id, *(float(f"{column[row]:.5g}") for column in columns)]
        for row, measurement in enumerate(found.problem.measurements)
    ]
