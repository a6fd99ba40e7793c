"""Structure of the families: what each layer holds, in which order, and what it keeps for backward."""

from __future__ import annotations

import pytest

from planner.models.build import build_graph
from planner.models.catalogue import load_model
from planner.models.graph import Block, Operator
from planner.models.spec import ModelSpec


def operator(block: Block, name: str) -> Operator:
    return next(item for item in block.operators if item.name == name)


def kinds(block: Block) -> list[str]:
    return [item.kind for item in block.operators]


def shape(block: Block, name: str) -> tuple[tuple[str, int | None], ...]:
    return tuple((axis.name, axis.size) for axis in block.parameters[name].axes)


def test_gpt_layer_in_order() -> None:
    block = load_model("gpt3-175b")[1].blocks["dense"]
    attention = ["norm", "einsum", "einsum", "einsum", "attention", "einsum", "dropout", "residual"]
    mlp = ["norm", "einsum", "activation", "einsum", "dropout", "residual"]
    assert kinds(block) == attention + mlp
    assert [len(item.parameters) for item in block.operators if item.kind == "einsum"] == [2] * 6


def test_llama_layer_axes() -> None:
    block = load_model("llama3-70b")[1].blocks["dense"]
    assert shape(block, "q_weight") == (("hidden", 8192), ("heads", 64), ("head_dim", 128))
    assert shape(block, "k_weight") == (("hidden", 8192), ("kv_heads", 8), ("head_dim", 128))
    assert shape(block, "attention_output_weight") == (("heads", 64), ("head_dim", 128), ("hidden", 8192))
    assert shape(block, "mlp_up_weight") == (("hidden", 8192), ("gated", 2), ("ffn", 28672))
    assert shape(block, "mlp_down_weight") == (("ffn", 28672), ("hidden", 8192))
    assert {operator(block, name).fused_group for name in "qkv"} == {"qkv"}
    assert kinds(block).count("rope") == 2


def saved_elements(block: Block) -> dict[str, int]:
    """Elements per token of every saved activation that has a sequence."""
    total = {}
    for item in block.operators:
        for name in item.saves:
            count = 1
            for axis in block.tensors[name].axes:
                count *= axis.size or 1
            total[name] = count
    return total


def test_gpt_layer_keeps_what_korthikanti_count() -> None:
    # arXiv 2205.05198, section 4.1, bytes per token and layer at 2 bytes, without scores: 34 h = 32 h of 16-bit tensors
    # + 2 h of dropout masks. Flash attention also keeps its output, which is the output projection's input there.
    hidden = 12288
    block = load_model("gpt3-175b")[1].blocks["dense"]
    assert 2 * sum(saved_elements(block).values()) == 32 * hidden


def test_llama_layer_keeps() -> None:
    block = load_model("llama3-8b")[1].blocks["dense"]
    hidden, keys, ffn = 4096, 1024, 14336
    expected = {"stream": hidden, "attention_norm_out": hidden, "q_rope_out": hidden, "k_rope_out": keys}
    expected |= {
        "v_out": keys,
        "attention_out": hidden,
        "attention_residual_out": hidden,
        "mlp_norm_out": hidden,
    }
    expected |= {"mlp_up_out": 2 * ffn, "mlp_activation_out": ffn}
    assert saved_elements(block) == expected


def test_moe_layer() -> None:
    block = load_model("deepseek-v3")[1].blocks["moe"]
    names = [item.name for item in block.operators]
    routed = [
        "router_logits",
        "router",
        "dispatch",
        "experts_up",
        "experts_activation",
        "experts_down",
        "combine",
    ]
    shared = ["shared_experts_up", "shared_experts_activation", "shared_experts_down", "moe_add"]
    start = names.index("router_logits")
    assert names[start : start + len(routed + shared)] == routed + shared
    assert block.tensors["dispatch_out"].axis_names == ("expert_tokens", "hidden")
    assert block.tensors["experts_up_out"].axis_names == ("expert_tokens", "gated", "expert_ffn")
    assert shape(block, "experts_down_weight") == (("experts", 256), ("expert_ffn", 2048), ("hidden", 7168))
    assert block.tensors["router_logits_out"].dtype == "fp32"
    assert operator(block, "combine").saves == ("experts_down_out",)
    assert operator(block, "moe_add").inputs == ("combine_out", "shared_experts_down_out")
    assert operator(block, "dispatch").attributes["top_k"] == 8


def test_deepseek_order_and_latents() -> None:
    model = load_model("deepseek-v3")[1]
    assert model.layer_order == ("dense",) * 3 + ("moe",) * 58
    block = model.blocks["moe"]
    assert shape(block, "kv_down_weight") == (("hidden", 7168), ("latent", 512))
    assert shape(block, "k_rope_down_weight") == (("hidden", 7168), ("rope_dim", 64))
    assert shape(block, "q_up_weight") == (("latent", 1536), ("heads", 128), ("head_dim", 192))
    assert shape(block, "v_up_weight") == (("latent", 512), ("kv_heads", 128), ("value_dim", 128))
    assert {i.module for i in block.operators if i.name in ("q_up", "k_up", "v_up")} == {"mla_up_proj"}
    assert (model.heads, model.kv_heads, model.head_dim) == (128, 128, 192)


def test_uncompressed_query() -> None:
    block = load_model("deepseek-v2-lite")[1].blocks["moe"]
    assert shape(block, "q_weight") == (("hidden", 2048), ("heads", 16), ("head_dim", 192))
    assert "q_down_weight" not in block.parameters


def test_multi_token_prediction_shares_embedding_and_head() -> None:
    plain, extra = load_model("deepseek-v3")[1], load_model("deepseek-v3-mtp")[1]
    assert extra.order[-2:] == ("mtp", "head")
    block = extra.blocks["mtp"]
    assert {p.tied_to for p in block.parameters.values() if p.tied_to} == {"token_table", "head_weight"}
    # A routed layer, a projection of two streams, and three norms (of both inputs and before the head).
    expected = plain.blocks["moe"].parameter_count + 2 * 7168**2 + 3 * 7168
    assert block.parameter_count == expected
    assert block.input == block.output


def test_parallel_block_adds_branches_first() -> None:
    block = load_model("gpt-j-6b")[1].blocks["dense"]
    assert kinds(block).count("norm") == 1
    assert operator(block, "branches_add").inputs == ("attention_output_out", "mlp_down_out")
    assert operator(block, "block_residual").inputs == ("stream", "block_dropout_out")
    assert kinds(load_model("falcon-40b")[1].blocks["dense"]).count("norm") == 2


def test_norm_placements() -> None:
    counts = {
        name: kinds(load_model(name)[1].blocks[block]).count("norm")
        for name, block in (("llama3-8b", "dense"), ("gemma2-9b", "local_dense"), ("bert-base", "encoder"))
    }
    assert counts == {"llama3-8b": 2, "gemma2-9b": 4, "bert-base": 2}
    last = load_model("bert-base")[1].blocks["encoder"].operators[-1]
    assert (last.kind, last.inputs) == ("norm", ("mlp_residual_out",))
    olmo = load_model("olmo2-7b")[1].blocks["dense"]
    assert operator(olmo, "q").inputs == ("stream",)
    assert shape(olmo, "q_norm_weight") == (("heads", 32), ("head_dim", 128))


@pytest.mark.parametrize(
    ("name", "cycle", "window"),
    [
        ("gemma2-9b", ("local_dense", "global_dense"), 4096),
        ("gemma3-27b", ("local_dense",) * 5 + ("global_dense",), 1024),
        ("gpt-oss-20b", ("local_moe", "global_moe"), 128),
        ("mistral-7b", ("dense",), 4096),
    ],
)
def test_windows_alternate(name: str, cycle: tuple[str, ...], window: int) -> None:
    model = load_model(name)[1]
    assert model.layer_order == tuple(cycle[i % len(cycle)] for i in range(model.layers))
    for block_name in set(cycle):
        attributes = operator(model.blocks[block_name], "attention").attributes
        assert attributes["window"] == (None if block_name.startswith("global") else window)
        assert attributes["causal"] is True


def test_interleaved_experts() -> None:
    model = load_model("llama4-maverick-text")[1]
    assert model.layer_order == ("dense", "moe") * 24


def test_attention_sinks_and_expert_biases() -> None:
    block = load_model("gpt-oss-120b")[1].blocks["local_moe"]
    assert operator(block, "attention").parameters == ("attention_sinks",)
    assert shape(block, "experts_up_bias") == (("experts", 128), ("gated", 2), ("expert_ffn", 2880))
    assert shape(block, "router_logits_bias") == (("router_experts", 128),)


def test_encoder_decoder() -> None:
    model = load_model("t5-base")[1]
    encoder = ("encoder_first",) + ("encoder",) * 11
    decoder = ("decoder_first",) + ("decoder",) * 11
    assert model.order == ("embedding", *encoder, "bridge", "decoder_embedding", *decoder, "head")
    block = model.blocks["decoder"]
    assert block.side_inputs == ("encoder_output",)
    assert block.sequence_scale == pytest.approx(114 / 512)
    assert block.kv_sequence_scale == 1
    assert block.tensors["cross_k_out"].axis_names == ("batch", "sequence_kv", "kv_heads", "head_dim")
    assert operator(block, "cross_attention").attributes["causal"] is False
    assert model.blocks["decoder_embedding"].parameter_count == 0
    assert model.blocks["encoder_first"].parameter_count - model.blocks["encoder"].parameter_count == 32 * 12
    assert model.blocks["bridge"].output == "encoder_output"


def test_vision_transformer() -> None:
    model = load_model("vit-large")[1]
    assert shape(model.blocks["embedding"], "patch_embedding_weight") == (("patch", 768), ("hidden", 1024))
    assert shape(model.blocks["embedding"], "position_table") == (("positions", 197), ("hidden", 1024))
    assert kinds(model.blocks["head"]) == ["norm", "pool", "einsum", "vocabulary_loss"]
    assert operator(model.blocks["encoder"], "attention").attributes["causal"] is False


def test_state_space_layer() -> None:
    model = load_model("mamba2-2.7b")[1]
    block = model.blocks["mamba2"]
    assert kinds(block).count("conv") == 3
    assert shape(block, "z_projection_weight") == (("hidden", 2560), ("inner", 5120))
    assert shape(block, "b_projection_weight") == (("hidden", 2560), ("groups", 1), ("state", 128))
    assert shape(block, "dt_projection_weight") == (("hidden", 2560), ("heads", 80))
    assert (model.heads, model.kv_heads) == (None, None)
    assert model.vocab == 50288


def test_hybrid_layers() -> None:
    spec = ModelSpec(
        family="hybrid",
        layers=4,
        hidden=64,
        heads=4,
        ffn_hidden=128,
        vocab=100,
        layer_pattern=("mamba2", "global"),
        mamba2={"state": 16, "head_dim": 16},  # type: ignore[arg-type]
    )
    model = build_graph(spec)
    assert model.layer_order == ("mamba2", "global_dense") * 2
    assert "mlp_up" not in [item.name for item in model.blocks["mamba2"].operators]


def test_hybrid_experts_follow_the_mlp() -> None:
    fields = {
        "family": "hybrid",
        "layers": 4,
        "hidden": 64,
        "heads": 4,
        "vocab": 100,
        "layer_pattern": ["mamba2", "global"],
        "moe": {"experts": 4, "topk": 1, "moe_ffn": 32},
    }
    without = build_graph(ModelSpec.model_validate({**fields, "mamba2": {"head_dim": 16}}))
    assert without.layer_order == ("mamba2", "global_moe") * 2
    with_mlp = build_graph(ModelSpec.model_validate({**fields, "mamba2": {"head_dim": 16, "mlp": True}}))
    assert with_mlp.layer_order == ("mamba2_moe", "global_moe") * 2
    assert "router" in kinds(with_mlp.blocks["mamba2_moe"])


def test_tied_head_is_counted_once() -> None:
    common = {"layers": 1, "hidden": 8, "heads": 2, "ffn_hidden": 16, "vocab": 10}
    untied = build_graph(ModelSpec.model_validate(common))
    tied = build_graph(ModelSpec.model_validate({**common, "tied_embeddings": True}))
    assert untied.parameter_count - tied.parameter_count == 80
    assert tied.blocks["head"].parameters["head_weight"].tied_to == "token_table"


def test_padded_vocabulary() -> None:
    spec = ModelSpec(layers=1, hidden=8, heads=2, ffn_hidden=16, vocab=50257, pad_vocab_to=1024)
    assert build_graph(spec).vocab == 51200
