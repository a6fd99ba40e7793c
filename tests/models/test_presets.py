"""Every preset counts what its publication says."""

from __future__ import annotations

import pytest

from planner.models.catalogue import list_models, load_model

# Rounded counts of active parameters leave the input embedding out, or not, paper by paper: DeepSeek-V3 prints 37B with
# embeddings excluded. An embedding is at most 3.5 % of the active parameters of these models.
ACTIVE_TOLERANCE = 0.04


@pytest.mark.parametrize("name", list_models())
def test_count_equals_the_published_one(name: str) -> None:
    spec, graph = load_model(name)
    assert spec.source
    assert spec.published_parameters is not None
    assert graph.parameter_count == pytest.approx(
        spec.published_parameters, rel=spec.published_tolerance, abs=0
    )


@pytest.mark.parametrize("name", list_models())
def test_active_count_equals_the_published_one(name: str) -> None:
    spec, graph = load_model(name)
    if spec.published_active_parameters is None:
        assert spec.moe is not None or graph.active_parameter_count == graph.parameter_count
        return
    exact = spec.published_active_parameters % 10**8 != 0
    tolerance = 0.0 if exact else ACTIVE_TOLERANCE
    assert graph.active_parameter_count == pytest.approx(
        spec.published_active_parameters, rel=tolerance, abs=0
    )


# Counts of transformers on the meta device, active ones with all but the unrouted experts.
EXACT = {
    "llama3-8b": (8_030_261_248, 8_030_261_248),
    "llama3-70b": (70_553_706_496, 70_553_706_496),
    "llama3-405b": (405_853_388_800, 405_853_388_800),
    "qwen3-30b-a3b": (30_532_122_624, 3_353_032_704),
    "qwen3-235b-a22b": (235_093_634_560, 22_190_763_520),
    "mixtral-8x7b": (46_702_792_704, 12_879_925_248),
    "mixtral-8x22b": (140_630_071_296, 39_161_468_928),
    "deepseek-v3": (671_026_404_352, 37_552_282_624),
    "gpt-oss-120b": (116_829_156_672, 5_711_982_912),
    "gpt-oss-20b": (20_914_757_184, 4_187_440_704),
}


@pytest.mark.parametrize("name", EXACT)
def test_known_exact_counts(name: str) -> None:
    _, graph = load_model(name)
    assert (graph.parameter_count, graph.active_parameter_count) == EXACT[name]


# Layers, hidden and count in units of 1e9 of the ten rows of Megatron-LM (arXiv 2104.04473), table 1.
MEGATRON = {
    "megatron-1.7b": (24, 2304, 1.7),
    "megatron-3.6b": (30, 3072, 3.6),
    "megatron-7.5b": (36, 4096, 7.5),
    "megatron-18b": (40, 6144, 18.4),
    "megatron-39b": (48, 8192, 39.1),
    "megatron-76b": (60, 10240, 76.1),
    "megatron-145b": (80, 12288, 145.6),
    "megatron-310b": (96, 16384, 310.1),
    "megatron-530b": (105, 20480, 529.6),
    "megatron-1t": (128, 25600, 1008.0),
}


@pytest.mark.parametrize("name", MEGATRON)
def test_megatron_rows_equal_the_paper_formula(name: str) -> None:
    layers, hidden, billions = MEGATRON[name]
    spec, graph = load_model(name)
    assert (spec.layers, spec.hidden) == (layers, hidden)
    # Equation 2 of the paper, V = 51,200 and s = 2,048; it leaves out the final norm (2 h) and the bias sums are exact.
    formula = 12 * layers * hidden**2 * (1 + 13 / (12 * hidden) + (51200 + 2048) / (12 * layers * hidden))
    assert graph.parameter_count == pytest.approx(formula + 2 * hidden, abs=1)
    assert abs(graph.parameter_count / 1e9 - billions) < 0.05


def test_there_are_presets_for_every_family() -> None:
    families = {load_model(name)[0].family for name in list_models()}
    assert families == {"decoder", "encoder", "encoder_decoder", "vit", "mamba2"}
    assert len(list_models()) >= 40
