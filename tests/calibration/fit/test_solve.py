"""The fit finds constants that it can know, stays at priors where it cannot, and keeps to physical bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.calibration.fit.constants import Key, constant
from planner.calibration.fit.folds import family_folds, left_out, model_folds
from planner.calibration.fit.predictor import Predictor, batch_seconds
from planner.calibration.fit.problem import Measurement, Problem, vote_weights
from planner.calibration.fit.result import at_bound, calibration_of, group_errors
from planner.calibration.fit.solve import NOISE, Fit, Linear, best_of_linear, solve, targets
from tests.calibration.fit.problems import positions, published, synthetic

MATMUL = Key("accelerator", "a100-sxm", "matmul_efficiency.16bit")
UNFUSED = Key("accelerator", "a100-sxm", "attention_backward.unfused")


@pytest.fixture(scope="module")
def korthikanti() -> Problem:
    """Four rows: two sizes, with full and with selective recompute."""
    rows = published("korthikanti22")
    few = tuple(m for m in rows.measurements if "22b" in m.id or "175b" in m.id)
    kept = sorted({batch for m in few for batch, _ in m.places})
    renamed = tuple(replace(m, places=tuple((kept.index(b), i) for b, i in m.places)) for m in few)
    batches = tuple(rows.batches[b] for b in kept)
    return replace(rows, batches=batches, measurements=renamed, weights=vote_weights(renamed))


def fitted(problem: Problem, stiffness: float) -> Fit:
    return solve(Predictor(problem, workers=1), stiffness=stiffness, renewals=1)


def straight(errors: list[float]) -> tuple[Problem, Linear]:
    """One constant that lengthens every step by what its position grows; rows of one second with these log errors."""
    made = constant(Key("framework", "x", "elementwise_factor"), 1.0)
    assert made is not None
    rows = tuple(
        Measurement(str(i), ("mine", "a100-sxm-80gb"), "m", "s", str(i), 1.0, ()) for i in range(len(errors))
    )
    problem = Problem((), rows, (made,), np.ones(len(rows)))
    return problem, Linear(np.zeros(1), np.array(errors), np.ones((len(rows), 1)))


def value(problem: Problem, fit: Fit, key: Key) -> float:
    index = next(i for i, constant in enumerate(problem.constants) if constant.key == key)
    return problem.constants[index].value(float(fit.linear.position[index]))


def test_a_constant_behind_synthetic_times_is_found(korthikanti: Problem) -> None:
    world = synthetic(korthikanti, {MATMUL: 0.70})
    fit = fitted(world, stiffness=1e-4)
    assert np.abs(fit.linear.seconds - targets(world)).max() < 0.003
    assert value(world, fit, MATMUL) == pytest.approx(0.70, rel=0.03)


def test_times_of_the_priors_leave_every_constant_at_its_prior(korthikanti: Problem) -> None:
    world = synthetic(korthikanti, {})
    fit = fitted(world, stiffness=0.01)
    for made, position in zip(world.constants, fit.linear.position, strict=True):
        assert position == pytest.approx(made.centre, abs=1e-6 * made.spread)


def test_stiffer_priors_hold_constants_back() -> None:
    """The linear optimum of one constant by hand: w e + p x = 0 for errors that shrink as x grows (small errors)."""
    rows, off = 100, -0.001
    problem, linear = straight([off] * rows)
    (spread,) = (constant.spread for constant in problem.constants)
    moved = []
    for stiffness in (0.001, 0.01, 0.1):
        position = best_of_linear(problem, linear, problem.weights, stiffness)
        moved.append(float(position[0] - linear.position[0]) / spread)
        data, prior = rows * spread**2 / NOISE**2, stiffness**2 / NOISE**2
        assert moved[-1] == pytest.approx(-off * rows * spread / NOISE**2 / (data + prior), rel=1e-3)
    assert moved[0] > moved[1] > moved[2] > 0


def test_a_constant_stops_at_its_bound_and_is_reported(korthikanti: Problem) -> None:
    """Times ten times too long for any kernel: the linear model would leave the physical range."""
    slow = tuple(replace(m, seconds=10.0 * m.seconds) for m in korthikanti.measurements)
    problem = replace(korthikanti, measurements=slow)
    fit = fitted(problem, stiffness=1e-3)
    for made, position in zip(problem.constants, fit.linear.position, strict=True):
        low, high = made.bounds
        assert low - 1e-9 <= position <= high + 1e-9
    position = np.array([constant.bounds[0] for constant in problem.constants])
    ended = Fit(Linear(position, fit.linear.seconds, fit.linear.slopes), fit.prior_seconds, fit.cost)
    assert set(at_bound(problem, ended)) == {constant.key for constant in problem.constants}


def test_rows_without_weight_do_not_pull(korthikanti: Problem) -> None:
    world = synthetic(korthikanti, {MATMUL: 0.60})
    fit = fitted(world, stiffness=0.01)
    position = best_of_linear(world, fit.linear, np.zeros(len(world.measurements)), 0.01)
    assert position == pytest.approx([constant.centre for constant in world.constants])


def test_one_row_ten_times_off_moves_little() -> None:
    """Soft L1: ten rows 10 % too fast, one ten times too slow; least squares would follow the one."""
    problem, linear = straight([-0.1] * 10 + [2.3])
    position = best_of_linear(problem, linear, problem.weights, 1e-6)
    assert float(linear.at(position)[0]) == pytest.approx(0.0, abs=0.025)


def test_slopes_agree_with_wide_differences(korthikanti: Problem) -> None:
    """The secant over twice the step, in the other direction, is the same within a tenth."""
    predictor = Predictor(korthikanti, workers=1)
    start = positions(korthikanti, {})
    seconds, slopes = predictor.slopes(start)
    index = next(i for i, c in enumerate(korthikanti.constants) if c.key == MATMUL)
    moved = start.copy()
    moved[index] -= 0.06
    secant = (seconds - predictor.seconds(moved)) / 0.06
    assert secant == pytest.approx(slopes[:, index], rel=0.1)
    assert (slopes[:, index] < 0).all()


def test_processes_give_the_same_seconds(korthikanti: Problem) -> None:
    start = positions(korthikanti, {UNFUSED: 0.3})
    alone, two = Predictor(korthikanti, workers=1), Predictor(korthikanti, workers=2)
    assert (alone.seconds(start) == two.seconds(start)).all()
    assert (alone.slopes(start)[1] == two.slopes(start)[1]).all()


def test_left_out_rows_do_not_train(korthikanti: Problem) -> None:
    """In a world of one constant the folds are predicted all the same; in a fold of everything only priors are left."""
    world = synthetic(korthikanti, {MATMUL: 0.70})
    fit = fitted(world, stiffness=0.001)
    out = left_out(world, fit, model_folds(world), 0.001)
    assert np.abs(out - targets(world)).max() < 0.05
    everything = left_out(world, fit, family_folds(world), 0.001)
    assert everything == pytest.approx(fit.prior_seconds)


def test_published_rows_fit_better_than_priors_predict(korthikanti: Problem) -> None:
    """Four of Korthikanti's rows: mean error at most 3 % in calibration."""
    fit = fitted(korthikanti, stiffness=0.003)
    (errors,) = group_errors(korthikanti, fit, None, None)
    assert errors.in_sample.mean_ape <= 0.03
    assert errors.in_sample.mean_ape < errors.priors.mean_ape
    calibration = calibration_of(korthikanti, fit, "test", "0" * 64)
    assert calibration.accelerators["a100-sxm"].constants["matmul_efficiency.16bit"].rows == 4


def test_a_batch_depends_on_its_own_constants_only(korthikanti: Problem) -> None:
    """Constants that a batch does not name leave its seconds as they are."""
    batch = korthikanti.batches[0]
    start = positions(korthikanti, {})
    moved = start + 0.3
    moved[list(batch.constants)] = start[list(batch.constants)]
    same = batch_seconds(batch, korthikanti.constants, moved)
    assert (same == batch_seconds(batch, korthikanti.constants, start)).all()
