"""Imported configurations count what transformers builds on the meta device, to the last parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from planner.models.catalogue import load_model
from planner.models.huggingface.registry import ARCHITECTURES

SMALL: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
}
GQA = {**SMALL, "num_key_value_heads": 2}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 2,
    "n_group": 1,
    "topk_group": 1,
}
GPT2 = {"vocab_size": 320, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 64}
T5 = {"vocab_size": 320, "d_model": 48, "d_kv": 10, "d_ff": 80, "num_layers": 3, "num_heads": 6}
STATE = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_heads": 12,
    "head_dim": 8,
    "vocab_size": 320,
    "n_groups": 2,
}

# Made-up dimensions: every size is different, and each switch of an architecture is on in some case.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("LlamaForCausalLM", GQA),
    ("LlamaForCausalLM", {**GQA, "head_dim": 20, "attention_bias": True, "mlp_bias": True}),
    ("LlamaForCausalLM", {**GQA, "attention_bias": True, "tie_word_embeddings": True}),
    ("LlamaForCausalLM", {**SMALL, "mlp_bias": True}),
    ("MistralForCausalLM", {**GQA, "sliding_window": 16}),
    ("Qwen2ForCausalLM", GQA),
    ("Qwen2ForCausalLM", {**GQA, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}),
    ("Qwen3ForCausalLM", {**GQA, "head_dim": 20, "attention_bias": True}),
    ("Phi3ForCausalLM", {**GQA, "pad_token_id": 0}),
    ("GraniteForCausalLM", {**GQA, "mlp_bias": True}),
    ("Olmo2ForCausalLM", GQA),
    ("OlmoForCausalLM", GQA),
    ("NemotronForCausalLM", {**GQA, "head_dim": 20}),
    ("NemotronForCausalLM", {**GQA, "head_dim": 8, "attention_bias": True, "mlp_bias": True}),
    ("CohereForCausalLM", GQA),
    ("CohereForCausalLM", {**GQA, "use_qk_norm": True}),
    ("StableLmForCausalLM", GQA),
    ("StableLmForCausalLM", {**GQA, "use_qkv_bias": True, "use_parallel_residual": True}),
    ("Starcoder2ForCausalLM", GQA),
    ("Starcoder2ForCausalLM", {**GQA, "use_bias": False, "sliding_window": 16}),
    ("PhiForCausalLM", GQA),
    ("GemmaForCausalLM", {**GQA, "head_dim": 20}),
    ("Gemma2ForCausalLM", {**GQA, "head_dim": 20, "attention_bias": True}),
    ("Gemma3ForCausalLM", {**GQA, "head_dim": 20}),
    ("MixtralForCausalLM", {**GQA, "num_local_experts": 6}),
    ("GptOssForCausalLM", {**GQA, "head_dim": 20, "num_local_experts": 6}),
    ("Qwen2MoeForCausalLM", {**GQA, **EXPERTS, "shared_expert_intermediate_size": 56}),
    ("Qwen2MoeForCausalLM", {**GQA, **EXPERTS, "qkv_bias": False, "decoder_sparse_step": 2}),
    ("Qwen3MoeForCausalLM", {**GQA, **EXPERTS, "head_dim": 20}),
    ("Qwen3MoeForCausalLM", {**GQA, **EXPERTS, "mlp_only_layers": [0, 1]}),
    ("OlmoeForCausalLM", {**GQA, "num_experts": 6, "num_experts_per_tok": 2}),
    ("DeepseekV2ForCausalLM", {**SMALL, **LATENT, "q_lora_rank": 12}),
    ("DeepseekV2ForCausalLM", {**SMALL, **LATENT, "q_lora_rank": None}),
    ("DeepseekV3ForCausalLM", {**SMALL, **LATENT, "q_lora_rank": 12, "attention_bias": True}),
    ("GPT2LMHeadModel", GPT2),
    ("GPT2LMHeadModel", {**GPT2, "n_inner": 100}),
    ("GPTJForCausalLM", GPT2),
    ("GPTNeoXForCausalLM", SMALL),
    ("GPTNeoXForCausalLM", {**SMALL, "use_parallel_residual": False, "attention_bias": False}),
    ("OPTForCausalLM", {**SMALL, "ffn_dim": 80, "word_embed_proj_dim": 48}),
    (
        "OPTForCausalLM",
        {**SMALL, "word_embed_proj_dim": 48, "do_layer_norm_before": False, "enable_bias": False},
    ),
    ("BloomForCausalLM", {"vocab_size": 320, "hidden_size": 48, "n_layer": 3, "n_head": 6}),
    ("MptForCausalLM", {"vocab_size": 320, "d_model": 48, "n_layers": 3, "n_heads": 6}),
    ("FalconForCausalLM", SMALL),
    (
        "FalconForCausalLM",
        {**SMALL, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
    ),
    ("FalconForCausalLM", {**SMALL, "new_decoder_architecture": True, "num_kv_heads": 2}),
    (
        "FalconForCausalLM",
        {**SMALL, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    ("BertForMaskedLM", {**SMALL, "max_position_embeddings": 40}),
    ("RobertaForMaskedLM", {**SMALL, "type_vocab_size": 1}),
    ("T5ForConditionalGeneration", T5),
    (
        "T5ForConditionalGeneration",
        {**T5, "num_decoder_layers": 5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    ("ViTForImageClassification", {**SMALL, "image_size": 40, "patch_size": 8, "num_labels": 7}),
    ("Mamba2ForCausalLM", STATE),
    ("Mamba2ForCausalLM", {**STATE, "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": True}),
]

# Dimensions of published models, typed from their publications; counts of transformers must also hold at full size.
REAL: list[tuple[str, dict[str, Any]]] = [
    (
        "LlamaForCausalLM",
        {
            "vocab_size": 128256,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
        },
    ),
    (
        "Qwen3MoeForCausalLM",
        {
            "hidden_size": 4096,
            "num_hidden_layers": 94,
            "num_attention_heads": 64,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1536,
        },
    ),
    (
        "FalconForCausalLM",
        {
            "hidden_size": 8192,
            "num_hidden_layers": 60,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
            "new_decoder_architecture": True,
        },
    ),
    (
        "OPTForCausalLM",
        {
            "hidden_size": 12288,
            "num_hidden_layers": 96,
            "num_attention_heads": 96,
            "ffn_dim": 49152,
            "word_embed_proj_dim": 12288,
        },
    ),
    ("DeepseekV3ForCausalLM", {}),
    ("GptOssForCausalLM", {}),
]


def count_of_transformers(architecture: str, fields: dict[str, Any], folder: Path) -> int:
    """Parameters of the model on the meta device; its config.json is written to ``folder``."""
    model_class = getattr(transformers, architecture)
    config = model_class.config_class(**fields)
    config.architectures = [architecture]
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = model_class(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("architecture", "fields"), CASES + REAL)
def test_count_equals_transformers(architecture: str, fields: dict[str, Any], tmp_path: Path) -> None:
    expected = count_of_transformers(architecture, fields, tmp_path)
    _, graph = load_model(str(tmp_path / "config.json"))
    assert graph.parameter_count == expected


# Nemotron's own default (no key-value heads) cannot be built by transformers; V2 has no default for its top-k.
@pytest.mark.parametrize(
    "architecture", [item.name for item in ARCHITECTURES if item.name != "NemotronForCausalLM"]
)
def test_defaults_of_missing_fields_equal_transformers(architecture: str, tmp_path: Path) -> None:
    fields = {"num_experts_per_tok": 6} if architecture.startswith("DeepseekV2") else {}
    expected = count_of_transformers(architecture, fields, tmp_path)
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({"architectures": [architecture], **fields}))
    _, graph = load_model(str(bare))
    assert graph.parameter_count == expected


def test_every_architecture_is_compared() -> None:
    assert {name for name, _ in CASES} == {item.name for item in ARCHITECTURES}
    assert len(ARCHITECTURES) >= 15


def test_windows_follow_layer_types(tmp_path: Path) -> None:
    fields = {**GQA, "num_hidden_layers": 12, "head_dim": 20}
    count_of_transformers("Gemma3ForCausalLM", fields, tmp_path)
    _, written = load_model(str(tmp_path))
    names = ["local_dense"] * 5 + ["global_dense"]
    assert list(written.layer_order) == names * 2
    older = {**fields, "architectures": ["Gemma3ForCausalLM"], "sliding_window_pattern": 4}
    (tmp_path / "config.json").write_text(json.dumps(older))
    _, graph = load_model(str(tmp_path))
    assert list(graph.layer_order) == (["local_dense"] * 3 + ["global_dense"]) * 3


@pytest.mark.parametrize(("fields", "window"), [({}, 4096), ({"sliding_window": None}, None)])
def test_null_is_not_missing(fields: dict[str, Any], window: int | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": ["MistralForCausalLM"], **fields}))
    assert load_model(str(path))[0].sliding_window == window


def test_model_type_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({"model_type": "llama", **GQA}))
    spec, graph = load_model(str(path))
    assert spec.name == "tiny"
    assert graph.layers == 5
