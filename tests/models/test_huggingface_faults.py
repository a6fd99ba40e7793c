"""A configuration that cannot be imported is one clear line; nothing that it names is run or fetched."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.documents import Document, load_text
from planner.errors import PlannerError
from planner.models.catalogue import load_model
from planner.models.huggingface import import_config
from planner.models.huggingface.registry import ARCHITECTURES


def fault(fields: dict[str, Any], tmp_path: Path) -> PlannerError:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields, indent=1))
    with pytest.raises(PlannerError) as caught:
        load_model(str(path))
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)
    return caught.value


def test_unknown_architecture_says_what_is_lacking_and_what_is_near(tmp_path: Path) -> None:
    fields = {"architectures": ["Mamba3ForCausalLM"], "chunk_fold": 4, "hidden_size": 8, "rope_theta": 1e4}
    error = fault(fields, tmp_path)
    assert "'Mamba3ForCausalLM' is not supported" in error.message
    assert "its fields chunk_fold;" in error.message
    assert "did you mean 'Mamba2ForCausalLM'?" in error.message
    assert (error.line, error.field) == (2, "architectures")


LLAMA = ["LlamaForCausalLM"]


@pytest.mark.parametrize(
    ("fields", "field", "part"),
    [
        ({"model_type": "lama"}, "model_type", "did you mean 'llama'?"),
        ({"model_type": None}, None, "names no architecture"),
        ({"architectures": LLAMA, "hidden_size": -3}, "hidden_size", "found -3; a whole number >= 1"),
        ({"architectures": LLAMA, "hidden_size": "4096"}, "hidden_size", "found '4096'"),
        (
            {"architectures": LLAMA, "num_attention_heads": 33},
            None,
            "hidden 4096 is not a multiple of heads 33",
        ),
        ({"architectures": LLAMA, "num_key_value_heads": 5}, None, "not a multiple of kv_heads 5"),
        ({"architectures": LLAMA, "hidden_act": "tanh"}, "hidden_act", "found 'tanh'; accepted: gelu"),
        ({"architectures": LLAMA, "attention_bias": 1}, "attention_bias", "true or false is accepted"),
        ({"architectures": LLAMA, "attention_bias": "NaN"}, "attention_bias", "found 'NaN'; true or false"),
        (
            {"architectures": ["OPTForCausalLM"], "word_embed_proj_dim": 512},
            "word_embed_proj_dim",
            "found 512, which is not modelled; accepted: 768",
        ),
        ({"architectures": ["DeepseekV2ForCausalLM"]}, "num_experts_per_tok", "is missing"),
        (
            {"architectures": ["Qwen3MoeForCausalLM"], "mlp_only_layers": [3]},
            "mlp_only_layers",
            "only the first n layers",
        ),
        (
            {"architectures": ["MistralForCausalLM"], "layer_types": ["linear_attention"]},
            "layer_types",
            "found 'linear_attention', which is not modelled",
        ),
        ({"architectures": ["GPT2LMHeadModel"], "n_embd": 0}, "n_embd", "found 0"),
        (
            {"architectures": ["Mamba2ForCausalLM"], "num_heads": 3},
            "num_heads",
            "must be expand x hidden_size = 8192",
        ),
        (
            {"architectures": ["T5ForConditionalGeneration"], "feed_forward_proj": "gated-tanh"},
            "feed_forward_proj",
            "found 'gated-tanh'",
        ),
    ],
)
def test_faults_name_the_field(fields: dict[str, Any], field: str | None, part: str, tmp_path: Path) -> None:
    error = fault(fields, tmp_path)
    assert error.field == field
    assert part in error.message


def test_remote_code_is_ignored(tmp_path: Path) -> None:
    trap = tmp_path / "modeling_trap.py"
    trap.write_text("raise SystemExit('ran')")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": LLAMA, "auto_map": {"AutoModel": "modeling_trap.Trap"}}))
    assert load_model(str(path))[1].parameter_count == 6_738_415_616


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70_000), st.floats(allow_nan=False), st.text(max_size=5)
) | st.lists(st.integers(0, 3), max_size=3)


@given(st.data())
def test_any_value_in_any_field_is_imported_or_refused(data: st.DataObject) -> None:
    architecture = data.draw(st.sampled_from(ARCHITECTURES))
    fields = {"architectures": [architecture.name]}
    name = data.draw(st.sampled_from(sorted(architecture.defaults)))
    value = fields[name] = data.draw(VALUES)
    text = json.dumps(fields)
    if isinstance(value, float) and math.isinf(value):  # a bare word that is no JSON, though Python writes it
        with pytest.raises(PlannerError, match=r"^config\.json:1: [^\n]+$"):
            load_text(text, Path("config.json"), json=True)
    else:
        assert "\n" not in outcome(load_text(text, Path("config.json"), json=True))


def outcome(document: Document) -> str:
    """The name of the imported model, or the line of the fault."""
    try:
        return import_config(document).name
    except PlannerError as error:
        return str(error)
