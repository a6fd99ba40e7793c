"""Which matmuls a policy over a layer's operators keeps."""

from __future__ import annotations

from typing import Any

import pytest

from planner.costs.kept_outputs import keeps, kept_outputs
from tests.costs.samples import DENSE


@pytest.mark.parametrize(
    ("share", "kept"), [(1 / 2, [0, 2, 4, 6]), (1 / 3, [0, 3, 6]), (1.0, list(range(7))), (0.0, [])]
)
def test_matmuls_by_number(share: float, kept: list[int]) -> None:
    """torchtitan keeps the first, third, ... matmul of a layer."""
    assert [number for number in range(7) if keeps(number, share)] == kept


def test_a_gated_projection_is_two_matmuls(make_job: Any) -> None:
    """q, k, v, output, gate, up, down: k, output and up run again."""
    block = next(b for b in make_job(DENSE).model.blocks.values() if b.kind == "layer")
    kept = kept_outputs(block, (), 1 / 2)
    gated = any(a.name == "gated" for p in block.parameters.values() for a in p.axes)
    assert [kept[name] for name in ("q", "k", "v", "attention_output")] == [1.0, 0.0, 1.0, 0.0]
    assert (kept["mlp_up"], kept["mlp_down"]) == ((0.5, 1.0) if gated else (1.0, 0.0))


def test_latent_projections_of_keys_and_values_are_one_matmul_and_routers_do_not_count(make_job: Any) -> None:
    """DeepSeek-V3: q_down, q_up, kv_down (with the rotary part), kv_up (keys and values), output; shared gate, up, down."""
    block = make_job("deepseek-v3").model.blocks["moe"]
    kept = kept_outputs(block, {"router_logits"}, 1 / 2)
    assert kept == {
        "q_down": 1.0,
        "q_up": 0.0,
        "kv_down": 1.0,
        "k_rope_down": 1.0,
        "k_up": 0.0,
        "v_up": 0.0,
        "attention_output": 1.0,
        "experts_up": 0.0,
        "experts_down": 0.0,
        "shared_experts_up": 0.5,
        "shared_experts_down": 0.0,
    }
