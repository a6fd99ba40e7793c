"""Rows as jobs and layouts: what is stated arrives, what is open has several readings, what is missing is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.validation.runs.express import express
from planner.validation.runs.layouts import stage_layers
from planner.validation.runs.predicting import answer
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RowLayout, RowModel
from tests.validation.runs.samples import expressed, row, rows, shelf

ODDITIES = (
    None,
    "unknown",
    "words",
    1,
    2,
    3,
    8,
    64,
    1_000_003,
    0.5,
    1e12,
    True,
    [],
    {},
    "full",
    "zb-h1",
    "ring",
)

KORTHIKANTI = "korthikanti22-tab5-22b-sp-selective"
TPU = "tpu-ironwood-llama3.1-70b-128k-256-bf16"
TITAN = "titan-2412-70b-g256-2d"


def test_a_complete_row_has_one_reading() -> None:
    """Table 5 of arXiv 2205.05198: 22B on 8 A100, tensor and sequence parallel 8, batch 4, selective recompute."""
    (variant,) = expressed(KORTHIKANTI).variants
    layout, job = variant.layout, variant.job
    assert (layout.tp, layout.sp, layout.pp, layout.dp, layout.micro_batch) == (8, True, 1, 1, 4)
    assert layout.recompute.modules == ("core_attention",)
    assert (job.model.layers, job.model.hidden, job.training.seq_len) == (48, 6144, 2048)
    assert (job.training.precision, job.training.attention) == ("fp16", "unfused")
    assert job.devices == 8


def test_full_shard_over_all_replicas() -> None:
    (variant,) = expressed(TITAN).variants
    assert variant.layout.zero_stage == 3
    assert variant.job.training.fp8_recipe == "tensorwise"


def test_two_cores_of_a_chip_are_one_device() -> None:
    """256 chips of two cores: fsdp 64 x cp 8 over cores is dp 64 x cp 4 over chips, one sequence each."""
    (variant,) = expressed(TPU).variants
    assert (variant.layout.dp, variant.layout.cp, variant.layout.micro_batch) == (64, 4, 1)
    assert variant.layout.micro_batches == 1


@pytest.mark.parametrize(
    ("field", "count"), [("recompute", 3), ("precision", 2), ("micro_batch", 3), ("zero_stage", 1)]
)
def test_an_open_setting_has_several_readings(field: str, count: int) -> None:
    """Batch 4 on one replica: micro-batches of 1, 2 or 4; without replicas every ZeRO stage is the same."""
    found = expressed(KORTHIKANTI, layout={"grad_accum": None, field: None})
    assert len(found.variants) == count


def test_graphs_and_dispatcher_of_a_recent_release_are_never_silently_off() -> None:
    quirky = next(row.id for row in rows().values() if row.family == "mbridge" and row.quirk)
    settings = [variant.setting for variant in expressed(quirky).variants]
    assert {setting["cuda_graph"] for setting in settings} == {False, True}
    assert {setting["dispatcher"] for setting in settings} == {"alltoall", "hybridep"}


@pytest.mark.parametrize(
    ("printed", "capture"),
    [
        ("transformer_engine/['attn', 'moe_router']", ("attn", "moe_router")),
        ("full_iteration/[]", True),
        ("none/None", False),
    ],
)
def test_graphs_are_read_with_their_scope(printed: str, capture: object) -> None:
    quirky = next(row.id for row in rows().values() if row.family == "mbridge" and row.quirk)
    found = expressed(quirky, layout={"cuda_graph": printed})
    assert {variant.job.training.capture for variant in found.variants} == {capture}


@pytest.mark.parametrize(("release", "degrees"), [("25.02", {4}), ("25.05", {4, 1}), (None, {4, 1})])
def test_experts_are_cut_as_the_rest_before_recipes_say_otherwise(
    release: str | None, degrees: set[int]
) -> None:
    layout = {"tp": 4, "sp": True, "ep": 2, "dp": 2, "etp": None}
    source = row("simumax-b200-deepseekv2-tp1-ep8-pp1-dp8-l4-mbc4-cef", layout=layout)
    changed = source.model_copy(update={"release": release, "complete": False})
    assert {variant.layout.etp for variant in express(changed, shelf()).variants} == degrees


def test_older_releases_capture_parts_of_layers_with_experts() -> None:
    quirky = next(row.id for row in rows().values() if row.family == "mbridge" and row.quirk)
    source = row(quirky, layout={"recompute_source": ...}).model_copy(update={"release": "25.09"})
    captures = {variant.job.training.capture for variant in express(source, shelf()).variants}
    assert captures == {False, ("attn", "moe_router", "moe_preprocess")}


def test_presets_that_state_graphs_say_none_by_silence() -> None:
    """Presets of Megatron-Bridge up to 26.06 name graphs and dispatchers that differ from the defaults."""
    quirky = next(row.id for row in rows().values() if row.family == "mbridge" and row.quirk)
    source = row(quirky).model_copy(update={"release": "26.04.01"})
    assert source.layout.recompute_source is not None
    settings = [variant.setting for variant in express(source, shelf()).variants]
    assert all("cuda_graph" not in setting and "dispatcher" not in setting for setting in settings)


@pytest.mark.parametrize(
    ("section", "field", "words"),
    [
        ("model", "layers", "model.layers is not given"),
        ("model", "hidden", "model.hidden is not given"),
        ("model", "seq_len", "model.seq_len is not given"),
        ("layout", "tp", "layout.tp is not given"),
        ("layout", "global_batch", "layout.global_batch is not given"),
        ("hardware", "count", "hardware.count is not given"),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_name(section: str, field: str, words: str) -> None:
    changes: dict[str, dict[str, Any]] = {section: {field: None}}
    changes.setdefault("layout", {}).update({"micro_batch": None, "grad_accum": None})
    changes.setdefault("model", {})["name"] = "unnamed"
    with pytest.raises(Refused) as caught:
        expressed(KORTHIKANTI, **changes)
    assert caught.value.reason == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layout": {"precision": "int2"}}, "feature: precision"),
        ({"layout": {"pp": 2, "tp": 4, "schedule": "spiral"}}, "feature: schedule"),
        ({"layout": {"tp": 3}}, "tp x cp x pp does not divide the devices"),
        ({"layout": {"micro_batch": 3}}, "the global batch is no whole number of micro-batches"),
        ({"hardware": {"accelerator": "abacus"}}, "accelerator 'abacus' is not in the catalogue of nodes"),
    ],
)
def test_features_that_are_missing_are_named(changes: dict[str, dict[str, object]], words: str) -> None:
    with pytest.raises(Refused) as caught:
        expressed(KORTHIKANTI, **changes)
    assert caught.value.reason == words


def test_a_size_in_the_name_stands_for_catalogue_models() -> None:
    """The source names 1.3B and 13B/30B scripts: every reading has widths of one of these, and a batch of its own."""
    found = expressed("mds-longseq-old-8k")
    names = {variant.setting["model"] for variant in found.variants}
    assert {"opt-1.3b", "gpt3-13b"} <= names
    assert found.untimed is not None


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        (48, 12, None),
        (126, 64, (1, *([2] * 62), 1)),  # Llama 3.1 405B: embedding and head take the place of a layer
        (62, 16, (3, *([4] * 14), 3)),  # DeepSeek-V3 with its prediction layer: 61 + 1 + 2 = 16 x 4
        (30, 32, (0, *([1] * 30), 0)),
        (78, 12, (6, 7, 7, 6, 6, 7, 7, 6, 6, 7, 7, 6)),
    ],
)
def test_depths_that_do_not_divide(layers: int, stages: int, expected: tuple[int, ...] | None) -> None:
    found = stage_layers(layers, stages)
    if expected is None or layers != 78:
        assert found == expected
    else:
        assert found is not None
        assert sorted(found) == sorted(expected)
        assert sum(found) == layers


def test_deepspeed_fills_its_stages_one_after_the_other() -> None:
    """78 layers on 12 stages: the last stage has 1 layer and the others 7 (bigscience tr11-176B-ml chronicles, "Re-do")."""
    assert stage_layers(78, 12, fills=True) == (*([7] * 11), 1)
    assert stage_layers(72, 12, fills=True) is None
    assert stage_layers(106, 12, fills=True) == stage_layers(106, 12) == (8, *([9] * 10), 8)
    # six stages of two layers and one of one would leave five empty
    assert stage_layers(13, 12, fills=True) == stage_layers(13, 12)


@pytest.mark.parametrize(
    ("spelling", "vpp", "expected"),
    [
        (None, 1, ("1f1b", 1)),
        (None, 2, ("interleaved_1f1b", 2)),
        ("1F1B-I", 4, ("interleaved_1f1b", 4)),
        ("1f1b (DeepSpeed pipeline)", 1, ("1f1b", 1)),
        ("interleaved-vpp2", None, ("interleaved_1f1b", 2)),
        ("ZB-2p", 1, ("zb_h2", 1)),
        ("zbv-formatted", None, ("zb_v", 2)),
        ("DualPipe", 2, ("dualpipe", 1)),
    ],
)
def test_published_spellings_of_schedules(
    spelling: str | None, vpp: int | None, expected: tuple[str, int]
) -> None:
    changes = {"tp": 2, "pp": 4, "dp": None, "schedule": spelling, "vpp": vpp, "sp": True}
    layout = expressed(KORTHIKANTI, layout=changes).variants[0].layout
    assert (layout.schedule, layout.vpp) == expected


def test_more_stages_than_layers_are_refused() -> None:
    with pytest.raises(Refused, match="fewer layers"):
        stage_layers(3, 8)


MATMULS_KEPT = ("activation", "core_attention", "norm")


@pytest.mark.parametrize(
    ("note", "published", "mode", "modules"),
    [
        ("kept on device: decoder_layer_input", None, "full", ()),
        ("kept on device: context, qkv_proj", None, "selective", ("activation", "mlp", "norm")),
        (None, "minimal", "selective", MATMULS_KEPT),
    ],
)
def test_custom_recompute_is_what_is_not_kept(
    note: str | None, published: str | None, mode: str, modules: tuple[str, ...]
) -> None:
    """MaxText names the tensors that stay; without attention's, nothing but the layer's input does."""
    changes = {"note": note, "offload": (), "recompute": "custom", "recompute_as_published": published}
    (variant,) = expressed(TPU, layout=changes).variants
    assert variant.layout.recompute.mode == mode
    assert variant.layout.recompute.modules == modules


@pytest.mark.parametrize(
    ("moved", "note", "share"),
    [
        (["decoder_layer_input"], None, 1.0),
        (["decoder_layer_input", "mlpwo"], "kept on device: key_proj, value_proj", 0.5),
        (["context"], None, 0.5),  # the layer's input stays unless it is named
        ([], "kept on device: decoder_layer_input", 0.0),
    ],
)
def test_activations_are_offloaded_in_proportion_to_what_is_kept(
    moved: list[str], note: str | None, share: float
) -> None:
    layout = {"note": note, "offload": moved, "recompute": "custom"}
    hardware = {"accelerator": "tpu-v6e", "count": 256}
    (variant,) = expressed(TPU, layout=layout, hardware=hardware).variants
    assert variant.layout.offload.fraction("activations", "host") == share


def test_gradients_of_a_pipeline_are_reduced_once() -> None:
    """Stage 2 in a pipeline is stage 1: a chunk's gradients stay whole until its last micro-batch."""
    named = "simumax-b200-deepseekv2-tp1-ep4-pp2-dp4-l4-mbc4-cef"
    (second,) = expressed(named, layout={"zero_stage": 2}).variants
    (first,) = expressed(named, layout={"zero_stage": 1}).variants
    assert second.layout.shard == first.layout.shard


@settings(max_examples=50)
@given(
    st.sampled_from(sorted(rows())),
    st.dictionaries(st.sampled_from(sorted(RowLayout.model_fields)), st.sampled_from(ODDITIES), max_size=3),
    st.dictionaries(st.sampled_from(sorted(RowModel.model_fields)), st.sampled_from(ODDITIES), max_size=2),
)
def test_whatever_a_source_prints_is_read_or_refused(
    identity: str, layout: dict[str, Any], model: dict[str, Any]
) -> None:
    """A row is predicted, refused with a reason, or not of the format; it never fails otherwise."""
    try:
        changed = row(identity, layout=layout, model=model)
    except ValidationError:
        return
    try:
        (answered,) = answer([express(changed, shelf())])
    except Refused:
        return
    assert answered.readings or answered.refused
    assert all(reading.step_time_s > 0 for reading in answered.readings)
