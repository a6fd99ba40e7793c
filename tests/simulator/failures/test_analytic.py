"""The exact expectation against published optima, hand arithmetic and a Markov chain solved by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import NoAnswerError, PlannerError
from planner.simulator.failures.analytic import (
    best_interval,
    check_progress,
    daly_interval,
    expected_goodput,
    segment_seconds,
    young_interval,
)
from planner.simulator.failures.model import FailureModel
from tests.simulator.failures.clusters import job

MINUTE = 60.0


def daly(mtbf_min: float) -> FailureModel:
    """The systems of Daly 2006, figures 3 to 5: dump 5 min, restart 10 min."""
    return FailureModel(1, mtbf_min * MINUTE, 5 * MINUTE, detect_s=0.0, restart_s=10 * MINUTE)


@pytest.mark.parametrize(("mtbf_min", "printed"), [(24 * 60, "117"), (6 * 60, "57"), (15, "9.1")])
def test_daly_s_published_optima(mtbf_min: float, printed: str) -> None:
    model = daly(mtbf_min)
    digits = 1 if "." in printed else 0
    assert f"{daly_interval(model) / MINUTE:.{digits}f}" == printed
    assert best_interval(model) / MINUTE == pytest.approx(float(printed), rel=0.01)


def test_young_by_hand() -> None:
    # sqrt(2 x 5 min x 360 min) = 60 min
    assert young_interval(daly(360)) == pytest.approx(60 * MINUTE, rel=1e-12)


def test_daly_s_series_ends_where_the_dump_takes_twice_the_mean_time() -> None:
    assert daly_interval(FailureModel(1, 100.0, 200.0, 0.0, 0.0)) == 100.0


def test_a_segment_by_hand() -> None:
    # M = 1000 s, D = 100 s, R = 200 s, A = 50 s, C = 20 s, interval 280 s:
    # (1000 + 100) x e^0.25 x (e^0.3 - 1)
    model = FailureModel(1, 1000.0, 20.0, detect_s=100.0, restart_s=200.0, background_s=50.0)
    assert segment_seconds(model, 280.0) == pytest.approx(
        1100 * 1.2840254166877414 * 0.3498588075760032, rel=1e-12
    )


def test_without_failures_only_checkpoints_cost() -> None:
    model = FailureModel(1, 1e18, 10.0, 600.0, 300.0)
    assert expected_goodput(model, 990.0) == pytest.approx(0.99, rel=1e-9)


def chain_seconds(model: FailureModel, interval: float, slots: int = 300) -> float:
    """Seconds per durable checkpoint of the same process cut into equal slots, by the stationary share of each slot.

    A snapshot ends with the last slot and counts if no failure falls into the background write after it.
    """
    width = (interval + model.checkpoint_s) / slots
    fail = -math.expm1(-model.rate * width)
    chain = np.zeros((slots, slots))
    for slot in range(slots):
        chain[slot, 0] += fail
        chain[slot, (slot + 1) % slots] += 1.0 - fail
    balance = np.vstack([chain.T - np.eye(slots), np.ones(slots)])
    share = np.linalg.lstsq(balance, np.append(np.zeros(slots), 1.0), rcond=None)[0]
    durable = share[-1] * (1.0 - fail) ** (1 + round(model.background_s / width))
    until_failure = 1.0 / model.rate - width * (1.0 - fail) / fail
    return float(((1.0 - fail) * width + fail * (until_failure + mean_recovery(model))) / durable)


def mean_recovery(model: FailureModel) -> float:
    """Expected seconds of detection and restart attempts, summed attempt by attempt."""
    survive = math.exp(-model.rate * model.restart_s)
    cut = 1.0 / model.rate - model.restart_s * survive / (1.0 - survive)
    total, chance = 0.0, 1.0
    for _ in range(2000):
        total += chance * (model.detect_s + survive * model.restart_s + (1.0 - survive) * cut)
        chance *= 1.0 - survive
    return total


@pytest.mark.parametrize("background", [0.0, 30.0, 90.0])
def test_the_closed_form_equals_a_markov_chain(background: float) -> None:
    model = FailureModel(1, 400.0, 30.0, detect_s=50.0, restart_s=80.0, background_s=background)
    assert segment_seconds(model, 270.0) == pytest.approx(chain_seconds(model, 270.0), rel=1e-9)


models = st.builds(
    FailureModel,
    devices=st.integers(1, 100_000),
    device_mtbf_s=st.floats(1e7, 1e10),
    checkpoint_s=st.floats(0.1, 600.0),
    detect_s=st.floats(0.0, 1800.0),
    restart_s=st.floats(0.0, 1800.0),
    background_s=st.floats(0.0, 300.0),
)


@given(models, st.floats(0.05, 20.0))
def test_no_interval_is_better_than_the_best(model: FailureModel, factor: float) -> None:
    best = best_interval(model)
    other = max(best * factor, model.background_s)
    assert expected_goodput(model, best) >= expected_goodput(model, other) * (1.0 - 1e-9)


@given(models, st.floats(1.0, 10.0), st.floats(60.0, 1e5))
def test_fewer_failures_and_cheaper_checkpoints_never_hurt(
    model: FailureModel, factor: float, interval: float
) -> None:
    goodput = expected_goodput(model, interval)
    assert 0.0 <= goodput < 1.0
    for name, value in (
        ("device_mtbf_s", model.device_mtbf_s * factor),
        ("checkpoint_s", model.checkpoint_s / factor),
        ("detect_s", model.detect_s / factor),
        ("restart_s", model.restart_s / factor),
        ("background_s", model.background_s / factor),
    ):
        better = FailureModel(**{**vars(model), name: value})
        assert expected_goodput(better, interval) >= goodput * (1.0 - 1e-12)


@given(st.floats(1e-9, 1e-3))
def test_young_and_daly_are_the_limits_of_rare_failures(cost: float) -> None:
    model = FailureModel(1, 1.0, cost, 0.0, 0.0)
    assert daly_interval(model) == pytest.approx(best_interval(model), rel=2 * cost)
    assert young_interval(model) == pytest.approx(best_interval(model), rel=2 * math.sqrt(cost))


@pytest.mark.parametrize("cost", [0.5, 2.0, 20.0, 31.0, 1e4])
def test_snapshots_that_take_longer_than_the_mean_time(cost: float) -> None:
    # y + ln(1 - y) = -cost has its root below 1
    y = best_interval(FailureModel(1, 1.0, cost, 0.0, 0.0))
    assert 0.69 < y <= 1.0
    if cost < 10:
        assert y + math.log(1.0 - y) == pytest.approx(-cost, rel=1e-6)


def test_free_checkpoints_are_taken_every_step() -> None:
    assert best_interval(job(512, checkpoint_s=0.0), shortest_s=12.0) == 12.0


def test_the_best_interval_waits_for_the_background_write() -> None:
    assert best_interval(job(100_000, checkpoint_s=1.0, background_s=900.0)) == 900.0


def test_no_progress_is_said() -> None:
    model = job(100_000, checkpoint_s=3 * 3600.0)
    with pytest.raises(NoAnswerError, match=r"the job makes no progress: it fails every 30\.4 min"):
        check_progress(model, best_interval(model))
    with pytest.raises(NoAnswerError, match=r"checkpoint every 311 s for 5\d"):
        check_progress(job(100_000), 1e6)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 0.0])
def test_times_that_make_no_sense(value: float) -> None:
    with pytest.raises(PlannerError, match="device_mtbf_s: found"):
        job(512, device_mtbf_s=value)
    if value != 0.0:
        with pytest.raises(PlannerError, match="detect_s: found"):
            job(512, detect_s=value)
