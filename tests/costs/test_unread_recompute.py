"""What a compiler leaves of a repeated layer: nothing whose output backward does not read."""

from __future__ import annotations

import pytest

from planner.costs.block_passes import recomputed_operators
from planner.jobs.framework import load_framework
from planner.layouts.layout import Recompute
from planner.models.catalogue import load_model


def again(model: str, policy: Recompute, framework: str = "maxtext") -> set[str]:
    """Operators of the last kind of layer that run again."""
    blocks = load_model(model)[1].blocks.values()
    layer = [block for block in blocks if block.kind == "layer"][-1]
    return {operator.name for operator in recomputed_operators(layer, policy, load_framework(framework))}


@pytest.mark.parametrize(
    ("model", "dropped", "kept"),
    [
        # one branch after the other: the norm of the second reads what the first added
        ("llama2-7b", {"mlp_down", "mlp_residual"}, {"attention_output", "attention_residual", "mlp_up"}),
        # side by side: both last products only enter the sum
        ("gpt-j-6b", {"mlp_down", "attention_output", "branches_add"}, {"mlp_up", "attention"}),
        # the gradient of the router's weights reads what the experts answered
        ("mixtral-8x7b", {"combine", "mlp_residual"}, {"experts_down", "dispatch", "router"}),
    ],
)
def test_what_only_enters_the_sum_is_not_made_again(model: str, dropped: set[str], kept: set[str]) -> None:
    full = again(model, Recompute("full"))
    assert not dropped & full
    assert kept <= full


def test_named_modules_lose_the_same() -> None:
    assert again("llama2-7b", Recompute("selective", ("mlp",))) == {"mlp_up"}
    assert again("llama2-7b", Recompute("selective", ("mlp",)), "megatron-core") == {"mlp_up", "mlp_down"}


def test_frameworks_without_a_compiler_repeat_all() -> None:
    assert {"mlp_down", "mlp_residual"} <= again("llama2-7b", Recompute("full"), "megatron-core")
