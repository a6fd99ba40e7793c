"""Pipelines over groups against a listing of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.errors import NoAnswerError
from planner.layouts.layout import Recompute
from planner.solvers.mixed import pipelines
from planner.solvers.mixed.candidates import Candidates, Side
from planner.solvers.mixed.search import search_groups
from tests.solvers.mixed.brute_force import fastest_pipeline
from tests.solvers.mixed.small import group, mixed

NO_HOPS = {"overlap": {"pp": 1.0}, "bandwidth": "1000 GB/s", "latency": "0 us"}
PLAIN = (Recompute(), Recompute("full"))
ONLY = {
    "allow": {"zero_stage": [0, 1], "recompute": ["none", "full"]},
    "limit": {"micro_batch": 4, "ep": 1, "etp": 1},
}

CASES: dict[str, Any] = {
    "fast and slow": ([group("a", 2), group("b", 2, speed=0.4)], {}),
    "tight memory": (
        [group("a", 3, per_node=3, memory="20 GB"), group("b", 2, memory="30 GB", speed=0.7)],
        {"batch": 6},
    ),
    "three devices": ([group("a", 3, per_node=3), group("b", 2, speed=0.5)], {"batch": 6}),
    "one device each": ([group("a", 1), group("b", 1, speed=0.3)], {"batch": 4}),
    "dense and expert layers": (
        [group("a", 2), group("b", 1, speed=0.5, memory="60 GB")],
        {"batch": 4, "model": {"preset": "deepseek-v2-lite", "layers": 4}},
    ),
    "three groups": ([group("a", 1), group("b", 2, speed=0.5), group("c", 1, speed=0.8)], {"batch": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_best_pipeline_equals_exhaustive_assignment(name: str) -> None:
    groups, options = CASES[name]
    job = mixed(*groups, search=ONLY, **NO_HOPS, **options)
    expected = fastest_pipeline(job, PLAIN, largest=4)
    plans = search_groups(job).plans
    found = [plan.step_s for plan in plans if plan.kind == "pipeline" and len(plan.groups) == len(groups)]
    assert found == pytest.approx([expected], rel=1e-9)


UNPRUNED: dict[str, Any] = {
    "slow link": ([group("a", 2), group("b", 4, speed=0.4)], {"bandwidth": "0.3 GB/s", "latency": "1 ms"}),
    "experts": (
        [group("a", 4), group("b", 2, speed=0.5)],
        {"model": {"preset": "mixtral-8x7b", "layers": 4}, "framework": "megatron-core"},
    ),
    "tied tables": (
        [group("a", 2), group("b", 2, speed=0.5), group("c", 1)],
        {"model": {"preset": "gpt3-125m", "layers": 5}, "batch": 4, "bandwidth": "1 GB/s"},
    ),
}


@pytest.mark.parametrize("name", UNPRUNED)
def test_bounds_rule_out_nothing_better(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hops, tied tables and experts included: the same pipelines are best when every candidate is cut."""
    groups, options = UNPRUNED[name]
    job = mixed(*groups, **options)
    pruned = search_groups(job)

    def unbounded(sides: Mapping[int, Side], order: tuple[int, ...]) -> Candidates:
        found = candidates(sides, order)
        return replace(found, bound=0.0 * found.bound)

    candidates = pipelines.candidates
    monkeypatch.setattr(pipelines, "candidates", unbounded)
    every = search_groups(job)
    assert every.space["pipelines"]["cut"] == every.space["pipelines"]["candidates"]
    assert pruned.space["pipelines"]["cut"] < pruned.space["pipelines"]["candidates"]
    assert [plan.step_s for plan in pruned.plans] == [plan.step_s for plan in every.plans]
    assert pruned.certificate["best"] == pytest.approx(every.certificate["best"])


EXPERTS = {"preset": "deepseek-v2-lite", "layers": 4}


@pytest.mark.parametrize(
    ("memory", "some_fit", "options"),
    [
        ("14 GB", True, {}),
        ("10 GB", False, {}),
        ("22 GB", True, {"model": EXPERTS}),
        ("12 GB", False, {"model": EXPERTS}),
    ],
)
def test_what_cannot_hold_all_layers_goes_at_once(
    monkeypatch: pytest.MonkeyPatch, memory: str, some_fit: bool, options: dict[str, Any]
) -> None:
    """Ruling out by room spares cuts and changes no answer."""
    job = mixed(group("a", 2, memory=memory), group("b", 2, memory=memory), search=ONLY, **NO_HOPS, **options)
    monkeypatch.setattr(pipelines, "_FIRST", 1)
    cuts: list[int] = []
    cut = pipelines._cut
    monkeypatch.setattr(pipelines, "_cut", lambda *given, **named: cuts.append(1) or cut(*given, **named))

    def answer() -> tuple[list[float], int]:
        cuts.clear()
        try:
            return [plan.step_s for plan in search_groups(job).plans], len(cuts)
        except NoAnswerError:
            return [], len(cuts)

    by_room = answer()
    monkeypatch.setattr(
        pipelines, "have_room", lambda sides, tables, found: np.ones(sum(map(len, found)), bool)
    )
    every = answer()
    assert by_room[0] == every[0]
    assert bool(every[0]) == some_fit
    assert by_room[1] <= every[1] - (not some_fit)
