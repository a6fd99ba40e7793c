"""What a description accepts, fills in and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.models.build import build_graph
from planner.models.parts import Moe
from planner.models.spec import ModelSpec

BASE: dict[str, Any] = {"layers": 4, "hidden": 64, "heads": 8, "ffn_hidden": 256, "vocab": 1000}
EXPERTS = {"experts": 8, "topk": 2, "moe_ffn": 32}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**BASE, **changes})


def test_attention_defaults() -> None:
    plain = spec()
    assert (plain.key_heads, plain.head_width, plain.padded_vocab) == (8, 8, 1000)
    grouped = spec(kv_heads=2, head_dim=16, pad_vocab_to=128)
    assert (grouped.key_heads, grouped.head_width, grouped.padded_vocab) == (2, 16, 1024)


def test_counts_have_suffixes() -> None:
    assert spec(seq_len="8K").seq_len == 8192
    assert spec(vocab="128K").vocab == 128_000


@pytest.mark.parametrize(("given_value", "biases"), [(True, "all"), (False, "none"), ("qkv", "qkv")])
def test_booleans_of_published_tables(given_value: object, biases: str) -> None:
    assert spec(biases=given_value).biases == biases


def test_patterns_repeat_and_stop() -> None:
    kinds = spec(layers=5, sliding_window=8, layer_pattern=["local", "global"]).layer_kinds()
    assert kinds == ("local", "global", "local", "global", "local")
    assert spec(sliding_window=8).layer_kinds() == ("local",) * 4
    assert spec().layer_kinds() == ("global",) * 4


def test_which_layers_route() -> None:
    moe = Moe.model_validate({**EXPERTS, "dense_layers": 1})
    assert [moe.routes(index) for index in range(4)] == [False, True, True, True]
    sparse = Moe.model_validate({**EXPERTS, "every": 2})
    assert [sparse.routes(index) for index in range(4)] == [False, True, False, True]


def test_width_of_shared_experts() -> None:
    assert Moe.model_validate({**EXPERTS, "shared_experts": 2}).shared_ffn == 64
    assert Moe.model_validate({**EXPERTS, "shared_experts": 1, "shared_ffn_total": 80}).shared_ffn == 80


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": None}, "heads is missing"),
        ({"heads": 7}, "hidden 64 is not a multiple of heads 7"),
        ({"kv_heads": 3}, "heads 8 is not a multiple of kv_heads 3"),
        ({"ffn_hidden": None}, "ffn_hidden is missing"),
        ({"layer_pattern": ["local"]}, "sliding_window is missing"),
        ({"layer_pattern": ["mamba2"]}, "use family hybrid"),
        ({"moe": {**EXPERTS, "topk": 9}}, "moe.topk 9 exceeds moe.experts 8"),
        ({"moe": {**EXPERTS, "dense_layers": 5}}, "moe.dense_layers 5 exceeds layers 4"),
        ({"moe": {**EXPERTS, "every": 5}}, "no layer routes"),
        ({"moe": {**EXPERTS, "shared_gate": True}}, "moe.shared_gate needs shared_experts"),
        ({"moe": EXPERTS, "parallel_block": True}, "parallel_block with moe"),
        ({"family": "encoder_decoder"}, "needs the section 'encoder'"),
        ({"family": "vit"}, "needs the section 'vision'"),
        ({"family": "mamba2"}, "needs the section 'mamba2'"),
        ({"mamba2": {}}, "section 'mamba2' does not belong to family decoder"),
        ({"family": "hybrid", "mamba2": {"head_dim": 60}}, "is not a multiple of head_dim 60"),
        ({"family": "encoder", "mtp_layers": 1}, "mtp_layers needs family decoder"),
        ({"positions": "relative"}, "needs family encoder_decoder"),
        ({"family": "encoder", "moe": EXPERTS}, "moe is not part of family encoder"),
        (
            {"family": "encoder_decoder", "encoder": {"layers": 2}, "parallel_block": True},
            "is not part of family",
        ),
        ({"family": "vit", "vision": {"image": 32, "patch": 8}, "seq_len": 16}, "patches of one image: 17"),
        ({"family": "mamba2", "mamba2": {}, "moe": EXPERTS}, "no layer routes"),
        ({"layers": 0}, "greater than 0"),
        ({"layers": 10**12}, "less than or equal to 100000"),
        ({"mtp_layers": 10**12}, "less than or equal to 100000"),
        ({"hidden": True}, "found True"),
        ({"hidden": float("nan")}, "not a whole number"),
        ({"hiden": 64}, "Extra inputs are not permitted"),
        ({"norm": "batch"}, "Input should be 'rms', 'layer' or 'none'"),
    ],
)
def test_inconsistent_descriptions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(**changes)
    assert message in str(caught.value)


@given(
    layers=st.integers(1, 6),
    heads=st.integers(1, 8),
    ratio=st.integers(1, 4),
    width=st.integers(1, 32),
    hidden=st.integers(1, 96),
    ffn=st.integers(1, 200),
    gated=st.booleans(),
    vocab=st.integers(1, 300),
)
def test_count_of_any_llama_by_hand(
    layers: int, heads: int, ratio: int, width: int, hidden: int, ffn: int, gated: bool, vocab: int
) -> None:
    model = build_graph(
        ModelSpec(
            layers=layers,
            hidden=hidden,
            heads=heads * ratio,
            kv_heads=heads,
            head_dim=width,
            ffn_hidden=ffn,
            gated_mlp=gated,
            vocab=vocab,
        )
    )
    attention = 2 * hidden * heads * ratio * width + 2 * hidden * heads * width
    layer = attention + (3 if gated else 2) * hidden * ffn + 2 * hidden
    assert model.parameter_count == layers * layer + 2 * vocab * hidden + hidden


@given(experts=st.integers(1, 16), data=st.data())
def test_active_count_drops_only_unrouted_experts(experts: int, data: st.DataObject) -> None:
    topk = data.draw(st.integers(1, experts))
    model = build_graph(spec(gated_mlp=True, moe={"experts": experts, "topk": topk, "moe_ffn": 32}))
    expert = 3 * 64 * 32
    assert model.parameter_count - model.active_parameter_count == 4 * (experts - topk) * expert
