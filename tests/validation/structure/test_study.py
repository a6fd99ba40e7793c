"""The short form of the traces: FSDP2 and DTensor, pipelines, Megatron-LM's convention, experts; one against a second source."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.validation.structure.cases import Case, built_in
from planner.validation.structure.study import run_cases

TORCHTITAN_GIB = 26.2554
"""Peak of llama3_8b.toml, FSDP 8, local batch 1, full recompute, by torchtitan v0.2.2's scripts/estimate/estimation.py with
torch 2.13.0 on CPU, second step."""


@pytest.mark.parametrize("case", built_in(short=True), ids=lambda case: case.name)
def test_traced_step_equals_prediction(case: Case) -> None:
    """FLOPs, calls, bytes and states to the last digit; the peak within 3 % of dense FSDP's prediction, 5 % of others'; 0.01 % of
    torchtitan's own estimate, where there is one."""
    (outcome,) = run_cases([case])
    assert outcome.failed_because is None
    assert outcome.trace is not None
    assert [term for term in outcome.terms if not term.passed] == []
    assert {term.area for term in outcome.terms} == {"flops", "communication", "persistent", "peak"}
    if case.name == "8B FSDP 8 full recompute":
        assert outcome.trace.peak_bytes / 2**30 == pytest.approx(TORCHTITAN_GIB, rel=1e-4)
    assert outcome.to_json()["passed"] is True


def test_refusal_of_the_trainer_is_the_reason() -> None:
    """A layout that the trainer refuses is a failed case with the feature's name, not a traceback."""
    from dataclasses import replace

    case = built_in(short=True)[0]
    training = replace(case.job.training, optimizer="lamb")
    (outcome,) = run_cases([replace(case, job=replace(case.job, training=training))])
    assert not outcome.passed
    assert outcome.failed_because is not None
    assert "adamw" in outcome.failed_because


def test_list_of_cases() -> None:
    """At least 24 layouts, all legal; a wrong name gets the nearest."""
    assert len(built_in()) >= 24
    with pytest.raises(PlannerError, match="8B FSDP 8"):
        built_in(names=["8B FSDP 9"])
