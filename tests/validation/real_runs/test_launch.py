"""Several runs in one launch."""

from __future__ import annotations

from dataclasses import replace

import torch

from planner.errors import PlannerError
from planner.layouts.layout import Layout
from planner.validation.real_runs.cases import built_in
from planner.validation.real_runs.launch import Finished, run_each
from planner.validation.trainer.settings import settings_of


def test_a_run_that_fails_leaves_the_others() -> None:
    case = next(case for case in built_in() if case.name == "dp 2")
    good = settings_of(case.job, case.layout, steps=1)
    chains = Layout(
        pp=2, schedule="dualpipe", micro_batches=4
    )  # PyTorch's runtime has no word for two chains
    ended: list[int] = []
    runs = [good, replace(good, layout=chains), replace(good, seed=1)]
    first, refused, last = run_each(runs, on_end=ended.append)
    assert isinstance(refused, PlannerError)
    assert str(refused).startswith("rank ")
    assert isinstance(first, Finished)
    assert isinstance(last, Finished)
    assert ended == [0, 2]
    assert first.result.losses != last.result.losses
    assert all(not torch.isnan(gradient).any() for gradient in last.gradients.values())
