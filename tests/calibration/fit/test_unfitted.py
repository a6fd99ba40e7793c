"""Sources that could not be fitted: which rows, which readings, and what supports them."""

from __future__ import annotations

import numpy as np
import pytest

from planner.calibration.fit.problem import build_problem
from planner.calibration.fit.solve import centres
from planner.calibration.fit.spreads import Unfitted
from planner.calibration.fit.unfitted import unfitted_errors
from planner.validation.runs.outcome import outcomes
from planner.validation.runs.reading import read_rows
from planner.validation.runs.rows import RunRow
from planner.validation.runs.votes import load_votes
from tests.calibration.fit.problems import RUNS

OPEN = ("zerobubble-tab4-1.5b-zb-2p-m24", "sc21-tab1-1.7b")


def rows(*open_rows: str) -> list[RunRow]:
    """Korthikanti's rows, which are fitted, and some that leave settings open."""
    return [row for row in read_rows([RUNS]) if row.family == "korthikanti22" or row.id in open_rows]


def found(some: list[RunRow]) -> Unfitted | None:
    problem = build_problem(some, load_votes())
    return unfitted_errors(some, load_votes(), problem, centres(problem))


def test_every_reading_of_sources_without_fitted_rows() -> None:
    some = rows(*OPEN)
    result = found(some)
    assert result is not None
    assert result.families == ("zerobubble", "sc21")
    settings = [len(item.readings) for item in outcomes(some, load_votes()) if item.row.id in OPEN]
    assert result.starts.tolist() == [0, settings[0]]
    assert len(result.errors) == sum(settings)


def test_errors_are_of_the_constants_at_hand() -> None:
    """At half of the rate of matmuls steps take longer, and less than twice as long."""
    some = rows(OPEN[1])
    problem = build_problem(some, load_votes())
    at_priors = unfitted_errors(some, load_votes(), problem, centres(problem))
    moved = centres(problem)
    for index, constant in enumerate(problem.constants):
        if constant.key.name == "matmul_efficiency.16bit":
            moved[index] = constant.position(constant.prior / 2.0)
    slower = unfitted_errors(some, load_votes(), problem, moved)
    assert at_priors is not None
    assert slower is not None
    ratio = np.exp(slower.errors - at_priors.errors)
    assert (ratio > 1.2).all()
    assert (ratio < 2.0).all()


@pytest.mark.parametrize(("framework", "unknown"), [("megatron-lm", 0.0), ("of our own", 1.0)])
def test_a_profile_that_stands_in_for_other_software_is_not_supported_by_its_runs(
    framework: str, unknown: float
) -> None:
    """Korthikanti's rows support chip and profile of the open row, unless its software only resembles the profile."""
    (open_row,) = (row for row in rows(*OPEN) if row.id == OPEN[1])
    result = found([*rows(), open_row.model_copy(update={"framework": framework})])
    assert result is not None
    assert set(result.counted["framework_prior"]) == {unknown}
    assert set(result.counted["source"]) == {1.0}
    assert not result.counted["compute_prior"].any()


def test_only_other_sources_with_stated_widths_count() -> None:
    """Neither open rows of a fitted family nor a model that is known by its name only."""
    some = rows(*OPEN)
    same = [row.model_copy(update={"family": "korthikanti22"}) if row.id == OPEN[1] else row for row in some]
    only = found(same)
    assert only is not None
    assert only.families == ("zerobubble",)
    nameless = [
        row.model_copy(
            update={
                "model": row.model.model_copy(update={"name": "GPT-2 1.5B", "layers": None, "hidden": None})
            }
        )
        for row in some
        if row.id in OPEN
    ]
    assert found([*rows(), *nameless]) is None
