"""FLOPs of the einsums against closed forms."""

from __future__ import annotations

import math

import pytest

from planner.models.catalogue import list_models, load_model
from planner.models.graph import Block, ModelGraph, Operator


def flops_per_token(block: Block, operator: Operator, experts: int, top_k: int) -> float:
    """2 x the product of all sized axes; a token goes to top_k experts, whose axis is not contracted."""
    names = {}
    for array in (block.tensors[operator.inputs[0]], block.parameters[operator.parameters[0]]):
        names.update({axis.name: axis.size for axis in array.axes})
    routed = top_k if names.pop("experts", None) else 1
    return 2.0 * routed * math.prod(size for size in names.values() if size is not None)


def stack_flops(model: ModelGraph) -> float:
    """Forward FLOPs per token of all einsums in layers."""
    return sum(
        flops_per_token(model.blocks[name], operator, model.experts, model.top_k)
        for name in model.layer_order
        for operator in model.blocks[name].operators
        if operator.kind == "einsum"
    )


@pytest.mark.parametrize(
    ("name", "layers", "hidden"),
    [("gpt3-175b", 96, 12288), ("megatron-1t", 128, 25600), ("gpt3-125m", 12, 768)],
)
def test_gpt_stack_is_24_l_h_squared(name: str, layers: int, hidden: int) -> None:
    # 2 FLOPs for each of the 12 h^2 matmul parameters of a layer (Megatron-LM, arXiv 2104.04473, appendix).
    _, model = load_model(name)
    assert stack_flops(model) == 24 * layers * hidden**2


def test_llama_layer_by_hand() -> None:
    # llama3-8b: q and o 4096^2 each, k and v 4096 x 1024 each, three MLP matrices of 4096 x 14336.
    _, model = load_model("llama3-8b")
    assert stack_flops(model) == 2 * 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)


@pytest.mark.parametrize(
    "name", [name for name in list_models() if not name.startswith(("t5", "deepseek-v3-mtp"))]
)
def test_stack_is_two_flops_per_active_matmul_parameter(name: str) -> None:
    _, model = load_model(name)
    expected = 0
    for item in model.layer_order:
        block = model.blocks[item]
        for operator in block.operators:
            if operator.kind != "einsum":
                continue
            parameter = block.parameters[operator.parameters[0]]
            share = (model.top_k, model.experts) if "experts" in parameter.axis_names else (1, 1)
            expected += 2 * parameter.count * share[0] // share[1]
    assert stack_flops(model) == expected


def test_mixtral_activates_two_experts_of_eight() -> None:
    _, model = load_model("mixtral-8x7b")
    attention = 2 * 4096**2 + 2 * 4096 * 1024
    experts = 2 * 3 * 4096 * 14336
    router = 4096 * 8
    assert stack_flops(model) == 2 * 32 * (attention + experts + router)


def test_deepseek_v3_latent_attention_by_hand() -> None:
    _, model = load_model("deepseek-v3")
    block = model.blocks["moe"]
    attention = [
        o for o in block.operators if o.kind == "einsum" and o.module in ("attention", "mla_up_proj")
    ]
    total = sum(flops_per_token(block, operator, 256, 8) for operator in attention)
    query = 7168 * 1536 + 1536 * 128 * (128 + 64)
    key_value = 7168 * (512 + 64) + 512 * 128 * (128 + 128)
    output = 128 * 128 * 7168
    assert total == 2 * (query + key_value + output)
