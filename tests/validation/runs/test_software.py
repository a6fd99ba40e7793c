"""The software that a row's release implies."""

from __future__ import annotations

import pytest

from planner.validation.runs.software import framework_of
from tests.validation.runs.samples import row, shelf

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
