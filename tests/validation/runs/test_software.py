"""The software that a row's release implies."""

from __future__ import annotations

import pytest

from planner.validation.runs.software import framework_of, overlap_of
from tests.validation.runs.samples import expressed, row, shelf

NEMO = "nemo-24.01-gpt3-175b-pretrain-fp8-g512-gbs2048"
DGXC = "dgxc-v24.11.1-llama3-70b-h100-bf16-g512"


@pytest.mark.parametrize(
    ("release", "kernel"),
    [("24.01", "flash2"), ("24.03.01", "flash2"), ("24.07", "flash2"), ("24.09", "cudnn"), (None, "cudnn")],
)
def test_old_launchers_of_nemo_switch_cudnn_attention_off(release: str | None, kernel: str) -> None:
    """NVTE_FUSED_ATTN: 0 stands in conf/config.yaml of NeMo-Framework-Launcher up to 24.07 and is gone in 24.09."""
    profile, _ = framework_of(row(NEMO).model_copy(update={"release": release}), shelf())
    assert profile.attention_generation("flash", "hopper") == kernel


def test_other_scripts_leave_the_choice_to_transformer_engine() -> None:
    """llama3.1/configure.sh of dgxc-benchmarking v24.11.1 exports NVTE_FUSED_ATTN=1."""
    profile, _ = framework_of(row(DGXC), shelf())
    assert profile.attention_generation("flash", "hopper") == "cudnn"


SCRIPT = "ascend-modellink-mistral-7b-32k"


def test_a_script_that_names_no_switch_sets_none() -> None:
    """examples/mcore/mistral of ModelLink sets --use-mc2 and --overlap-grad-reduce; the legacy scripts neither."""
    profile, _ = framework_of(row(SCRIPT), shelf())
    assert overlap_of(row(SCRIPT), profile) == {"dp_gather": 0.0}
    silent = row(SCRIPT, layout={"overlap": ...})
    assert overlap_of(silent, profile) == {"dp_reduce": 0.0, "dp_gather": 0.0, "tp": 0.0}


def test_other_sources_leave_unnamed_switches_to_the_profile() -> None:
    table = row(SCRIPT, layout={"overlap": ...}).model_copy(update={"source": "table 3 of a paper"})
    profile, _ = framework_of(table, shelf())
    assert overlap_of(table, profile) == {}


MAXTEXT = "tpu-ironwood-llama3.1-70b-128k-256-bf16"


def test_maxtext_gathers_keys_and_values_unless_told_otherwise() -> None:
    """context_parallel_strategy: "all_gather" in configs/base.yml of AI-Hypercomputer/maxtext."""
    (variant,) = expressed(MAXTEXT).variants
    assert (variant.layout.ring, variant.layout.cp_kind) == (4, "allgather")
    (variant,) = expressed(MAXTEXT, layout={"cp_kind": "ring"}).variants
    assert variant.layout.cp_kind == "ring"


def test_maxtext_had_a_decoder_with_both_branches_side_by_side() -> None:
    """DecoderLayer of MaxText/layers/models.py, commit 76bd53b0f: one norm, whose result attention and MLP read."""
    widths = {"gated_mlp": False, "ffn_hidden": 28672, "kv_heads": 64}
    (variant,) = expressed(MAXTEXT, model={"name": "MaxText 2023 default decoder", **widths}).variants
    layer = next(block for block in variant.job.model.blocks.values() if block.kind == "layer")
    assert [operator.kind for operator in layer.operators].count("norm") == 1
    (variant,) = expressed(MAXTEXT, model={"name": "a decoder", **widths}).variants
    layer = next(block for block in variant.job.model.blocks.values() if block.kind == "layer")
    assert [operator.kind for operator in layer.operators].count("norm") == 2


@pytest.mark.parametrize(
    ("release", "stage", "name"),
    [
        ("0.3.16", 3, "deepspeed-2021"),
        ("0.5.9", 3, "deepspeed-2021"),
        ("0.5.9", 2, "deepspeed"),
        ("0.6.0", 3, "deepspeed-2023"),
        ("0.10.1", 3, "deepspeed-2023"),
        ("0.10.2", 3, "deepspeed"),
        (None, 3, "deepspeed"),
    ],
)
def test_profile_of_deepspeed_by_release(release: str | None, stage: int, name: str) -> None:
    """Pull request 1453 is in v0.6.0 of deepspeedai/DeepSpeed and not in v0.5.9, 4232 in v0.10.2 and not in v0.10.1."""
    changes = {"framework": "deepspeed", "release": release, "source": "a page"}
    profile, _ = framework_of(row(NEMO, layout={"zero_stage": stage}).model_copy(update=changes), shelf())
    assert profile.name == name


@pytest.mark.parametrize(
    ("paper", "name"),
    [("2104.04473", "deepspeed-2021"), ("2306.10209", "deepspeed-2023"), ("2309.14509", "deepspeed")],
)
def test_paper_is_not_of_a_later_release(paper: str, name: str) -> None:
    """v0.6.0 is of March 2022, v0.10.2 of August 2023."""
    changes = {"framework": "deepspeed", "release": None, "source": f"arXiv {paper}, table 2"}
    profile, _ = framework_of(row(NEMO, layout={"zero_stage": 3}).model_copy(update=changes), shelf())
    assert profile.name == name
