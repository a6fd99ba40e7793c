"""Causes share the difference to the estimate out, whatever is switched on."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout
from planner.simulator.analysis.causes import NO_SLOWDOWN, ORDER, PERTURBATIONS, SHARING, causes
from planner.simulator.options import SimulationOptions
from planner.simulator.perturbations import Perturbations
from planner.simulator.simulation import simulate

SLOW = Perturbations(slow_devices={3: 0.5})


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (SimulationOptions(), [ORDER, SHARING]),
        (SimulationOptions(sharing=False), [ORDER]),
        (SimulationOptions(sharing=False, slowdown=False), [ORDER, NO_SLOWDOWN]),
        (SimulationOptions(perturbations=SLOW), [ORDER, SHARING, PERTURBATIONS]),
        (
            SimulationOptions(sharing=False, slowdown=False, perturbations=SLOW),
            [ORDER, NO_SLOWDOWN, PERTURBATIONS],
        ),
    ],
)
def test_causes_add_up(options: SimulationOptions, names: list[str], examples: Path) -> None:
    job = load_job(examples / "llama3-70b-h100.yaml")
    layout = parse_layout("tp=8,pp=2,zero_stage=1,recompute=full,micro_batch=8", job)
    simulation = simulate(job, layout, options)
    told: list[str] = []
    found = causes(simulation, 20.0, lambda done, message: told.append(message))
    assert [cause.name for cause in found] == names
    assert 20.0 + sum(cause.seconds for cause in found) == pytest.approx(simulation.step_time_s, rel=1e-12)
    assert len(told) == len(names)
    by_name = {cause.name: cause.seconds for cause in found}
    assert by_name.get(PERTURBATIONS, 1.0) > 0.0
    assert by_name.get(NO_SLOWDOWN, 0.0) <= 0.0
