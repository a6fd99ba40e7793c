"""BERT, RoBERTa, T5 and ViT."""

from __future__ import annotations

from collections.abc import Mapping

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import activation, decoder_fields, refuse
from planner.models.huggingface.fields import Config

_BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "tie_word_embeddings": True,
    "is_decoder": False,
    "add_cross_attention": False,
}


def _bert(config: Config) -> Fields:
    refuse(config, "is_decoder")
    refuse(config, "add_cross_attention")
    return {
        **decoder_fields(config),
        "family": "encoder",
        "norm": "layer",
        "norm_placement": "post",
        "final_norm": False,
        "embedding_norm": True,
        "token_types": config.size("type_vocab_size"),
        "biases": "all",
        "head_bias": True,
        "positions": "learned",
        "learned_positions": config.size("max_position_embeddings"),
    }


def _t5(config: Config) -> Fields:
    layers = config.size("num_layers")
    gated, function = _t5_activation(config)
    return {
        "family": "encoder_decoder",
        "encoder": {"layers": layers},
        "layers": config.optional_size("num_decoder_layers") or layers,
        "hidden": config.size("d_model"),
        "heads": config.size("num_heads"),
        "head_dim": config.size("d_kv"),
        "ffn_hidden": config.size("d_ff"),
        "gated_mlp": gated,
        "activation": function,
        "vocab": config.size("vocab_size"),
        "seq_len": config.size("n_positions"),
        "positions": "relative",
        "relative_buckets": config.size("relative_attention_num_buckets"),
        "tied_embeddings": config.flag("tie_word_embeddings"),
    }


def _t5_activation(config: Config) -> tuple[bool, str]:
    """``relu`` or ``gated-gelu``: whether the MLP is gated, and its function."""
    text = str(config.get("feed_forward_proj"))
    gated, name = text.startswith("gated-"), text.removeprefix("gated-")
    known = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu", "silu": "silu"}
    if name not in known:
        raise config.fault(
            "feed_forward_proj", f"found '{text}'; accepted: relu, gelu, silu, gated-gelu, ..."
        )
    return gated, known[name]


def _vit(config: Config) -> Fields:
    refuse(config, "qkv_bias", True)
    image, patch = config.size("image_size"), config.size("patch_size")
    labels = config.get("id2label")
    return {
        "family": "vit",
        "layers": config.size("num_hidden_layers"),
        "hidden": config.size("hidden_size"),
        "heads": config.size("num_attention_heads"),
        "ffn_hidden": config.size("intermediate_size"),
        "activation": activation(config, "hidden_act"),
        "vocab": len(labels) if isinstance(labels, Mapping) and labels else config.size("num_labels"),
        "seq_len": (image // patch) ** 2 + 1,
        "norm": "layer",
        "biases": "all",
        "positions": "learned",
        "vision": {"image": image, "patch": patch, "channels": config.size("num_channels")},
    }


ARCHITECTURES = (
    Architecture("BertForMaskedLM", "bert", _bert, _BERT),
    Architecture("RobertaForMaskedLM", "roberta", _bert, {**_BERT, "vocab_size": 50265}),
    Architecture(
        "T5ForConditionalGeneration",
        "t5",
        _t5,
        {
            "vocab_size": 32128,
            "d_model": 512,
            "d_kv": 64,
            "d_ff": 2048,
            "num_layers": 6,
            "num_heads": 8,
            "n_positions": 512,
            "relative_attention_num_buckets": 32,
            "feed_forward_proj": "relu",
            "tie_word_embeddings": True,
        },
    ),
    Architecture(
        "ViTForImageClassification",
        "vit",
        _vit,
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "hidden_act": "gelu",
            "image_size": 224,
            "patch_size": 16,
            "num_channels": 3,
            "qkv_bias": True,
            "num_labels": 2,
        },
    ),
)
