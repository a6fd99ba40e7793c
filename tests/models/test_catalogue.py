"""Where a model may come from: preset, file, folder, inline mapping, preset with changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.documents import load_document
from planner.errors import PlannerError
from planner.models.catalogue import list_models, load_model

INLINE: dict[str, Any] = {"layers": 2, "hidden": 64, "heads": 4, "ffn_hidden": 128, "vocab": 100}


def test_presets_are_listed_and_named() -> None:
    names = list_models()
    assert list(names) == sorted(names)
    spec, graph = load_model("llama3-70b")
    assert (spec.name, graph.name, graph.layers) == ("llama3-70b", "llama3-70b", 80)


def test_inline_mapping() -> None:
    spec, graph = load_model(INLINE)
    assert (spec.name, graph.hidden) == ("model", 64)


def test_preset_with_changes() -> None:
    spec, graph = load_model({"preset": "llama3-70b", "layers": 8, "seq_len": "128K"})
    assert (graph.layers, graph.seq_len, graph.kv_heads) == (8, 131072, 8)
    assert spec.published_parameters is None


def test_sections_of_a_preset_merge_and_null_removes() -> None:
    spec, _ = load_model({"preset": "deepseek-v3", "layers": 4, "moe": {"experts": 64}, "mla": None})
    assert spec.moe is not None
    assert (spec.moe.experts, spec.moe.topk, spec.moe.dense_layers) == (64, 8, 3)
    assert spec.mla is None


def test_paths_start_from_the_base(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("layers: 2\nhidden: 64\nheads: 4\nffn_hidden: 128\nvocab: 100\n")
    assert load_model("tiny.yaml", base=tmp_path)[0].name == "tiny"
    (tmp_path / "more.yaml").write_text("preset: gpt3-125m\nlayers: 3\n")
    assert load_model("more.yaml", base=tmp_path)[1].layers == 3
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    assert load_model("snapshot", base=tmp_path)[0].name == "snapshot"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("llama3-70", "unknown model 'llama3-70'; did you mean 'llama3-70b'?"),
        ("missing.yaml", "missing.yaml: does not exist"),
        ({"preset": "llama3-70"}, "preset: unknown model 'llama3-70'; did you mean 'llama3-70b'?"),
        ({"preset": 7}, "preset: unknown model '7'"),
        ({**INLINE, "kv_head": 2}, "kv_head: unknown key; did you mean 'kv_heads'?"),
        ({**INLINE, "moe": {"expert": 2}}, "moe.expert: unknown key; did you mean 'experts'?"),
        ({"layers": 2}, "hidden: is missing; it is required"),
        (7, "a preset name, a path or a mapping is accepted"),
        ([INLINE], "a preset name, a path or a mapping is accepted"),
    ],
)
def test_faults(reference: Any, message: str) -> None:
    with pytest.raises(PlannerError) as caught:
        load_model(reference)
    assert message in str(caught.value)


def test_faults_inside_a_job_name_file_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("devices: 8\nmodel:\n  preset: llama3-8b\n  heads: 31\n  norms: rms\n")
    document = load_document(path)
    with pytest.raises(PlannerError) as caught:
        load_model(document.data["model"], base=tmp_path, document=document)
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(path), 5, "model.norms")


def test_a_preset_is_not_shadowed_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "llama3-8b").mkdir()
    assert load_model("llama3-8b", base=tmp_path)[1].layers == 32


def test_a_list_is_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(PlannerError, match="a mapping of model fields is accepted"):
        load_model(str(path))
