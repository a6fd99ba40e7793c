"""Simulated runs against the exact expectation, and against a plain simulation of the same failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import NoAnswerError, PlannerError
from planner.simulator.failures.analytic import best_interval, expected_goodput
from planner.simulator.failures.model import FailureModel
from planner.simulator.failures.monte_carlo import SHARES, simulate_runs
from tests.simulator.failures.clusters import DAY_S, SIZES, job
from tests.simulator.failures.reference import Run

BACKGROUND = (0.0, 120.0)


@pytest.mark.parametrize("background", BACKGROUND)
@pytest.mark.parametrize("devices", SIZES)
def test_goodput_agrees_with_the_expectation(devices: int, background: float) -> None:
    model = job(devices, background_s=background)
    for factor in (0.5, 1.0, 3.0):
        interval = factor * best_interval(model)
        runs = simulate_runs(model, interval, horizon_s=30 * DAY_S, runs=400, seed=devices)
        assert abs(runs.goodput - expected_goodput(model, interval)) <= 4 * runs.standard_error
        assert runs.standard_error < 0.003


@pytest.mark.parametrize("background", BACKGROUND)
@pytest.mark.parametrize("devices", SIZES)
def test_the_best_simulated_interval_is_as_good_as_the_best(devices: int, background: float) -> None:
    model = job(devices, background_s=background)
    best = best_interval(model)
    grid = np.maximum(best * np.geomspace(0.25, 4.0, 17), background)
    results = [
        simulate_runs(model, float(interval), horizon_s=30 * DAY_S, runs=200, seed=devices)
        for interval in grid
    ]
    top = max(range(len(grid)), key=lambda i: results[i].goodput)
    # common failures: the curve is flat at its top, so an interval within its noise is within a thousandth
    assert expected_goodput(model, best) - expected_goodput(model, float(grid[top])) <= 1e-3
    assert best / 2 < grid[top] < best * 2


@pytest.mark.parametrize("days", [0.5, 3.0])
def test_a_short_horizon_adds_no_bias(days: float) -> None:
    model = job(24576, background_s=300.0)
    interval = 2 * best_interval(model)
    runs = simulate_runs(model, interval, horizon_s=days * DAY_S, runs=20_000, seed=7)
    assert abs(runs.goodput - expected_goodput(model, interval)) <= 4 * runs.standard_error
    assert runs.standard_error < 0.001


def test_failures_are_poisson() -> None:
    model = job(8192)
    expected = model.rate * 30 * DAY_S
    runs = simulate_runs(model, best_interval(model), horizon_s=30 * DAY_S, runs=4000, seed=3)
    assert abs(runs.failures.mean() - expected) <= 4 * np.sqrt(expected / 4000)
    assert runs.failures.var() == pytest.approx(expected, rel=0.1)
    assert (runs.restarts <= runs.failures).all()


def test_without_spares_every_failure_waits_for_its_repair() -> None:
    # with D = 0 the job waits exactly the repair each time, which the exact form calls detection
    model = job(8192, detect_s=0.0, spares=0, repair_s=36_000.0)
    interval = best_interval(model)
    same = replace(model, detect_s=36_000.0, spares=None)
    runs = simulate_runs(model, interval, horizon_s=60 * DAY_S, runs=2000, seed=5)
    assert abs(runs.goodput - expected_goodput(same, interval)) <= 4 * runs.standard_error


def test_more_spares_never_hurt_and_enough_are_as_good_as_unlimited() -> None:
    model = job(8192)
    interval = best_interval(model)
    waits = []
    for spares in (0, 1, 2, 4, 8, 40):
        limited = replace(model, spares=spares, repair_s=36_000.0)
        waits.append(simulate_runs(limited, interval, horizon_s=30 * DAY_S, runs=100, seed=1))
    shares = [runs.shares["waiting"] for runs in waits]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5
    assert shares[-1] == 0.0
    unlimited = simulate_runs(model, interval, horizon_s=30 * DAY_S, runs=100, seed=1)
    assert (unlimited.seconds == waits[-1].seconds).all()


@settings(max_examples=60)
@given(
    mtbf=st.floats(500.0, 20_000.0),
    interval=st.floats(200.0, 3000.0),
    checkpoint=st.floats(0.0, 200.0),
    background=st.floats(0.0, 1.0),
    detect=st.floats(0.0, 900.0),
    restart=st.floats(0.0, 600.0),
    spares=st.sampled_from([None, 0, 1, 3]),
    repair=st.floats(0.0, 20_000.0),
    seed=st.integers(0, 100),
)
def test_every_run_equals_the_plain_simulation(
    mtbf: float,
    interval: float,
    checkpoint: float,
    background: float,
    detect: float,
    restart: float,
    spares: int | None,
    repair: float,
    seed: int,
) -> None:
    model = FailureModel(
        1,
        mtbf,
        checkpoint,
        detect,
        restart,
        background_s=background * interval,
        spares=spares,
        repair_s=repair,
    )
    if expected_goodput(model, interval) < 0.02:
        return
    runs = simulate_runs(model, interval, horizon_s=30_000.0, runs=3, seed=seed)
    for column in range(3):
        plain = Run(model, interval, 30_000.0, exposures(mtbf, seed, column))
        plain.go()
        assert runs.seconds[column] == pytest.approx(plain.now, rel=1e-9)
        assert runs.parts["useful"][column] == pytest.approx(plain.durable * interval, rel=1e-9)
        assert runs.parts["waiting"][column] == pytest.approx(plain.waited, rel=1e-9, abs=1e-6)
    total = sum(runs.parts.values())
    assert total == pytest.approx(runs.seconds, rel=1e-9)
    assert all((runs.parts[name] >= -1e-6).all() for name in SHARES)


def exposures(mtbf: float, seed: int, column: int) -> Iterator[float]:
    """The failure times that a run of three draws, one column of them."""
    generator = np.random.default_rng(seed)
    while True:
        yield float(generator.standard_exponential(3)[column]) * mtbf


def test_the_same_seed_gives_the_same_runs() -> None:
    model = job(2048)
    first, second, other = (
        simulate_runs(model, 3000.0, horizon_s=30 * DAY_S, runs=50, seed=seed) for seed in (4, 4, 5)
    )
    assert (first.seconds == second.seconds).all()
    assert first.goodput != other.goodput


def test_shares_add_up_and_percentiles_are_in_order() -> None:
    runs = simulate_runs(job(24576, spares=6), 900.0, horizon_s=30 * DAY_S, runs=100)
    assert sum(runs.shares.values()) == pytest.approx(1.0, rel=1e-12)
    assert runs.shares["useful"] == runs.goodput
    low, median, high = runs.percentiles(5, 50, 95)
    assert low < median < high
    assert low < runs.goodput < high


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": 1}, "--runs: found 1; accepted: 2 or more"),
        ({"runs": 10**9}, "--runs: found 1000000000 with .* expected in each; accepted here: at most"),
        ({"horizon_s": 1e12}, "--days: .* failures are expected within one run; accepted: at most 20,000"),
        ({"interval_s": 60.0}, "--checkpoint-interval: found 60 s, shorter than the 120 s"),
    ],
)
def test_sizes_that_cannot_be(changes: dict[str, float], message: str) -> None:
    settings = {"interval_s": 900.0, "horizon_s": DAY_S, "runs": 10, **changes}
    with pytest.raises(PlannerError, match=message):
        simulate_runs(job(8192, background_s=120.0), settings.pop("interval_s"), **settings)  # type: ignore[arg-type]


def test_a_hopeless_job_ends_with_words() -> None:
    with pytest.raises(NoAnswerError, match="makes no progress"):
        simulate_runs(job(100_000), 1e5, horizon_s=DAY_S, runs=10)
