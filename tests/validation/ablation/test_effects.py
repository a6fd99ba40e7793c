"""Each effect takes away what it names and nothing else; what that does to errors follows from the predictions."""

from __future__ import annotations

import numpy as np
import pytest

from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import Problem
from planner.calibration.fit.solve import centres
from planner.validation.ablation.effects import EFFECTS, Effect
from planner.validation.ablation.study import VISIBLE_GROUP, Ablation, Errors, ablate, without_effect
from tests.calibration.fit.problems import published, synthetic

BY_NAME = {effect.name: effect for effect in EFFECTS}


@pytest.fixture(scope="module")
def world() -> Problem:
    """Korthikanti's rows as the priors predict them: every effect that it lacks shows as an error."""
    return synthetic(published("korthikanti22"), {})


def seconds(problem: Problem, effect: Effect | None) -> np.ndarray:
    priced = problem if effect is None else without_effect(problem, effect)
    return np.exp(Predictor(priced, workers=1).seconds(centres(problem)))


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.name)
def test_a_step_without_an_effect_is_no_longer(world: Problem, effect: Effect) -> None:
    """All but one: a single network card makes steps longer."""
    whole, less = seconds(world, None), seconds(world, effect)
    if effect.name == "NIC aggregation":
        assert (less >= whole * (1 - 1e-9)).all()
    else:
        assert (less <= whole * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", ["attention", "bubble", "collectives", "head", "elementwise", "optimizer"])
def test_these_effects_are_there(world: Problem, name: str) -> None:
    """In most rows; two run without a pipeline."""
    assert np.mean(seconds(world, BY_NAME[name]) < seconds(world, None)) >= 0.75


def test_rows_of_sixteen_bits_know_no_casts(world: Problem) -> None:
    assert seconds(world, BY_NAME["casts"]) == pytest.approx(seconds(world, None), rel=1e-12)


def test_the_whole_model_explains_its_own_world(world: Problem) -> None:
    """Errors without an effect come from the effect alone, and fitting again can only shrink them in sample."""
    effects = [BY_NAME["bubble"], BY_NAME["casts"]]
    whole, bubble, casts = ablate(world, centres(world), effects, stiffness=0.01, workers=1)
    (group,) = whole.groups
    assert whole.groups[group].kept == pytest.approx(0.0, abs=1e-9)
    expected = np.abs(seconds(world, BY_NAME["bubble"]) / seconds(world, None) - 1).mean()
    assert bubble.groups[group].kept == pytest.approx(expected, rel=1e-6)
    assert bubble.groups[group].refit < bubble.groups[group].kept
    assert bubble.visible(whole)
    assert not casts.visible(whole)


def test_the_group_that_an_effect_hits_most() -> None:
    small, large = ("a", "x"), ("b", "x")
    flat = Errors(0.0, 0.0, 0.05)
    whole = Ablation(None, {small: flat, large: flat}, flat)
    without = Ablation(EFFECTS[0], {small: flat, large: Errors(0.0, 0.0, 0.05 + 1.001 * VISIBLE_GROUP)}, flat)
    group, rise = without.hit(whole)
    assert group == large
    assert rise == pytest.approx(1.001 * VISIBLE_GROUP)
    assert without.visible(whole)
