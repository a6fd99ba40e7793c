"""Real runs of a few layouts: loss and gradients of one process, and the predicted calls and bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.plan import write_plan
from planner.layouts.legality import require_legal
from planner.validation.real_runs.cases import built_in, of_plans
from planner.validation.real_runs.compare import Outcome, gradient_error
from planner.validation.real_runs.local import run_plan
from planner.validation.real_runs.study import run_cases
from planner.validation.trainer.settings import settings_of

CASES = built_in()


def test_every_case_is_legal_and_runnable() -> None:
    for case in CASES:
        require_legal(case.job, case.layout)
        assert settings_of(case.job, case.layout).world_size == case.processes
    assert {case.processes for case in CASES} == {2, 4, 8}
    assert sum(case.processes < 8 for case in CASES) >= 50


AXES = ("tp", "ulysses", "ring", "pp", "dp", "ep")


@pytest.mark.parametrize("short", [False, True])
def test_every_parallelism_is_run_alone_and_combined(short: bool) -> None:
    """Experts lie on the ranks of other axes: ep counts as alone where dp is all that it shares ranks with."""
    used = [
        frozenset(axis for axis in AXES if getattr(case.layout, axis) > 1)
        for case in CASES
        if case.short or not short
    ]
    alone = [frozenset({axis}) for axis in AXES if axis != "ep"] + [frozenset({"dp", "ep"})]
    assert [axes for axes in alone if axes not in used] == []
    assert sum(len(axes) > 1 and axes not in alone for axes in used) >= (3 if short else 10)


def test_schedules_of_our_own_are_run_in_both_forms() -> None:
    ours = {"zb_h1", "interleaved_1f1b", "dualpipe_v"}
    assert ours <= {case.layout.schedule for case in CASES if case.short}
    assert ours | {"gpipe", "zb_v"} <= {case.layout.schedule for case in CASES if case.processes == 2}


def test_short_cases_equal_one_process_and_move_the_predicted_bytes() -> None:
    chosen = [case for case in CASES if case.short]
    outcomes = run_cases(chosen, progress=lambda done, message: None)
    assert [(outcome.name, outcome.failed_because) for outcome in outcomes] == [
        (c.name, None) for c in chosen
    ]
    assert [outcome.name for outcome in outcomes if not outcome.equal] == []
    assert [outcome.name for outcome in outcomes if not outcome.bytes_exact] == []


def test_a_failed_case_does_not_pass() -> None:
    assert not Outcome("case", 2, failed_because="rank 1 died").passed
    assert not Outcome("case", 2, gradient_error=2e-6).passed
    assert Outcome("case", 2, gradient_error=1e-12).passed


def test_gradients_with_gaps_or_missing_names_are_infinitely_wrong() -> None:
    whole = {"a": torch.ones(2, dtype=torch.float64)}
    assert gradient_error(whole, {"a": torch.tensor([1.0, 1.0])}) == 0.0
    assert gradient_error(whole, {"a": torch.tensor([1.0, torch.nan])}) == float("inf")
    assert gradient_error(whole, {}) == float("inf")
    assert gradient_error(whole, {"a": torch.tensor([1.0, 2.0])}) == pytest.approx(0.5**0.5)


def test_rounding_where_a_gradient_is_zero_is_no_error() -> None:
    expected = {"w": torch.tensor([1.0, 0.0]).double(), "k.bias": torch.tensor([1e-17]).double()}
    noise = expected | {"k.bias": torch.tensor([-2e-17]).double()}
    assert gradient_error(expected, noise) == pytest.approx(3e-17 / 1e-6)
    wrong = expected | {"k.bias": torch.tensor([1e-9]).double()}
    assert gradient_error(expected, wrong) == pytest.approx(1e-3)


def test_a_plan_file_runs_and_a_wrong_process_count_is_refused(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "zero 1 dp 2")
    file = str(tmp_path / "plan.yaml")
    write_plan(file, case.job, predict(case.job, case.layout))
    assert of_plans([file], 8)[0].layout == case.layout
    with pytest.raises(PlannerError, match="needs 2 processes, at most 1 run here"):
        of_plans([file], 1)
    with pytest.raises(PlannerError, match="--processes: found 3; the plan needs 2"):
        run_plan(file, steps=1, processes=3)
