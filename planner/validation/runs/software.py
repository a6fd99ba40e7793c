"""The software of a row: framework profile and training settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planner.jobs.framework import FRAMEWORKS, Framework, calibrated_framework, load_framework
from planner.jobs.types import MoeOptions, Training
from planner.validation.runs.refusal import lacking
from planner.validation.runs.rows import RunRow
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.unknown import release_of

_BY_WORDS = (
    ("megatron-deepspeed", "megatron-deepspeed"),
    ("deepspeed", "deepspeed"),
    ("accelerate", "deepspeed"),
    ("nemo", "megatron-core"),
    ("megatron-core", "megatron-core"),
    ("megatron-bridge", "megatron-core"),
    ("primus", "megatron-core"),
    ("megatron", "megatron-lm"),
    ("torchtitan", "torchtitan"),
    ("mindspeed", "mindspeed"),
    ("modellink", "mindspeed"),
    ("internevo", "internevo"),
    ("foundry", "composer-fsdp"),
    ("composer", "composer-fsdp"),
    ("maxtext", "maxtext"),
    ("jax", "maxtext"),
    ("pax", "maxtext"),
    ("fsdp", "fsdp"),
    ("neuron", "megatron-lm"),
)
"""Words of the software's description -> the nearest profile, first match. JAX compiles whole steps as MaxText does."""

_BY_DEVICE = (("tpu", "maxtext"), ("ascend", "mindspeed"))
"""Beginnings of accelerators' names -> the profile of the software that they mostly run."""

_RECIPES = {
    "hybrid": "delayed",
    "delayed": "delayed",
    "per-tensor": "tensorwise",
    "tensorwise": "tensorwise",
    "rowwise": "rowwise",
    "block": "blockwise",
    "blockwise": "blockwise",
    "mxfp8": "mxfp8",
}
"""Published names; Transformer Engine's hybrid formats scale with delayed factors unless said otherwise."""

_BF16_GRADIENTS = ("nemo", "megatron-bridge")
"""Software whose benchmark recipes keep and sum gradients in bf16: grad_sync_dtype=bf16 in the launcher scripts of NeMo 1
(NVIDIA DGX Cloud benchmarking), grad_reduce_in_fp32=False in the performance recipes of NeMo 2 and Megatron-Bridge."""

_CUDNN_SINCE = (24, 9)
"""First release of NeMo whose launcher leaves cuDNN's attention on. Before, it exports NVTE_FUSED_ATTN=0 (launcher_scripts/conf/
config.yaml of NVIDIA/NeMo-Framework-Launcher, tags 24.01 to 24.07; removed in commit 04b8d098), and Transformer Engine, which
prefers cuDNN on Hopper, runs FlashAttention 2 there (transformer_engine/pytorch/attention.py, v1.3 to v1.9)."""

_STAGE_THREE = (((0, 6), (22, 3), "deepspeed-2021"), ((0, 10, 2), (23, 8), "deepspeed-2023"))
"""Profiles of DeepSpeed's stage 3 before a release and its month: the one that gathers ahead (deepspeedai/DeepSpeed pull request
1453), and the one that gathers recomputed layers from all ranks once (4232)."""

_OVERLAP_FLAGS = {
    "overlap-grad-reduce": ("dp_reduce",),
    "overlap_comm": ("dp_reduce",),
    "overlap-param-gather": ("dp_gather",),
    "use-mc2": ("tp",),
    "use-ascend-coc": ("tp",),
    "tp-comm-overlap": ("tp",),
    "moe-alltoall-overlap-comm": ("ep",),
    "moe-allgather-overlap-comm": ("ep",),
    "moe-fb-overlap": ("ep",),
    "use-cp-send-recv-overlap": ("cp",),
}
"""Switches that sources list -> the traffic that they hide."""

_BF16 = "bfloat16"

_SCRIPT = ".sh"
"""In the source of a row that was read from a launch script."""

_LISTED = ("dp_reduce", "dp_gather", "tp")
"""Traffic that is exposed when a source lists its switches and leaves these out."""


def framework_of(
    row: RunRow, shelf: Shelf, calibration: str | None = None
) -> tuple[Framework, tuple[str, ...]]:
    """The profile of a row, and what was assumed.

    Software that is not told, or that has no profile, runs as the nearest one; what was fitted to that one is then no
    evidence, so that intervals are as wide as those of a profile that no run supports.

    Args:
        calibration: path of the file whose constants replace the profile's, None for none.
    """
    told = row.framework in FRAMEWORKS
    name = row.framework if told else _nearest(row)
    why = "software not told" if row.framework == "unknown" else f"framework '{row.framework}' has no profile"
    assumed = () if told else (f"{why}: profile {name}",)
    if name == "deepspeed" and row.layout.zero_stage == 3:
        name = _of_its_time(row)
    key = ("framework", name, calibration, told)
    profile = shelf.once(key, lambda: _profile(name, calibration, told))
    if "reuse-fp32-param" in row.layout.optimizer_memory:
        profile = shelf.once((*key, "reuse"), lambda: _reusing_master(profile))
    if name == "megatron-deepspeed" and _BF16 in (row.layout.grad_dtype or ""):
        profile = shelf.once((*key, "16 bits"), lambda: _in_16_bits(profile))
    if row.model.padded_vocab is False:
        padded = profile
        profile = shelf.once(
            ("unpadded", id(padded)), lambda: padded.model_copy(update={"pads_vocabulary": 0})
        )
    if row.layout.shard_runtime is not None:
        profile = profile.model_copy(update={"shard_runtime": row.layout.shard_runtime})
    if _before_cudnn(row):
        profile = profile.model_copy(update={"flash_kernel": {"default": "flash2"}})
    return profile, assumed


def _profile(name: str, calibration: str | None, told: bool) -> Framework:
    profile = calibrated_framework(load_framework(name), calibration)
    return profile if told else profile.model_copy(update={"calibrated": None})


def _of_its_time(row: RunRow) -> str:
    """The profile of DeepSpeed's stage 3 in the release of a row, or at the latest when its paper came out (arXiv's number)."""
    release, paper = release_of(row), re.search(r"\b(\d\d)(\d\d)\.\d{5}\b", row.source or "")
    month = (int(paper[1]), int(paper[2])) if paper else (99, 1)
    for since, released, old in _STAGE_THREE:
        if (release < since) if release else (month < released):
            return old
    return "deepspeed"


def _before_cudnn(row: RunRow) -> bool:
    """Whether NeMo's launcher switched cuDNN's attention off in the release of a row."""
    nemo = row.framework == "megatron-core" and (row.software or "").startswith("NeMo")
    return nemo and () < release_of(row) < _CUDNN_SINCE


def _in_16_bits(profile: Framework) -> Framework:
    """DeepSpeed's ZeRO optimizer treats gradients of bf16 as those of fp16 (deepspeed.runtime.zero.stage_1_and_2)."""
    return profile.model_copy(update={"states": {**profile.states, "bf16": profile.states["fp16"]}})


def _reusing_master(profile: Framework) -> Framework:
    """MindSpeed's --reuse-fp32-param: the 16-bit weights are the upper halves of the fp32 master copy."""
    laws = {
        name: law.model_copy(update={"master": law.master - 2.0}) if law.master > 2.0 else law
        for name, law in profile.states.items()
    }
    return profile.model_copy(update={"states": laws})


def _nearest(row: RunRow) -> str:
    extra = getattr(row.layout, "framework", None)
    for text in (row.framework, row.software, extra, row.source):
        found = next((name for word, name in _BY_WORDS if word in str(text or "").lower()), None)
        if found is not None:
            return found
    device = row.hardware.accelerator
    of_device = next((name for start, name in _BY_DEVICE if device.startswith(start)), None)
    if of_device is not None:
        return of_device
    return "fsdp" if row.layout.zero_stage == 3 else "megatron-core"


def training_of(
    row: RunRow, framework: Framework, setting: Mapping[str, Any], *, seq_len: int, global_batch: int
) -> Training:
    """The training settings of a row under one assignment of what it leaves open.

    Raises:
        Refused: an fp8 recipe or optimizer that is not known here.
    """
    precision = setting["precision"]
    moe = row.model.moe
    return Training(
        global_batch=global_batch,
        seq_len=seq_len,
        precision=precision,
        optimizer=_optimizer(row),
        gradient_dtype_bytes=_gradient_bytes(row, precision),
        gradient_reduce_bytes=2.0 if "bfloat16" in (row.layout.grad_reduce_dtype or "") else None,
        attention=setting["attention"],
        dropout=_dropout(row, setting),
        capture=setting["cuda_graph"],
        compile=setting["compile"],
        launch_blocking=row.layout.launch_blocking is True,
        fp8_recipe=_recipe(row) if precision == "fp8" else None,
        moe=MoeOptions(
            capacity_factor=moe.capacity_factor if moe else None, dispatcher=setting["dispatcher"]
        ),
        overlap=overlap_of(row, framework),
    )


def overlap_of(row: RunRow, framework: Framework) -> dict[str, float]:
    """Hidden shares that the row's switches change; what it does not mention stays the profile's.

    A row that was read from a launch script lists the switches that the script sets: all others are off, as they are by
    default (MC2, docs/features/mc2.md of Ascend/MindSpeed; --overlap-grad-reduce of Megatron-LM).
    """
    words = " ".join(row.layout.overlap).lower()
    if not words:
        return dict.fromkeys(_LISTED, 0.0) if _SCRIPT in (row.source or "") else {}
    if words.startswith("none"):
        exposed = ("tp",) if "fsdp" in framework.name or framework.name == "torchtitan" else None
        return dict.fromkeys(exposed or ("tp", "dp_reduce", "dp_gather", "pp", "cp", "ep"), 0.0)
    if "a2a overlap" in words or "all-to-all overlapped" in words:
        return {"ep": 1.0}
    switches = [flag for flag in _OVERLAP_FLAGS if flag in words]
    if not switches or framework.name == "maxtext":
        return {}
    on = {kind for flag in switches for kind in _OVERLAP_FLAGS[flag]}
    result = {kind: 0.0 for kind in _LISTED if kind not in on}
    return result | ({"ep": 1.0} if "ep" in on else {})


def _recipe(row: RunRow) -> str | None:
    text = row.layout.fp8_recipe
    if text is None:
        return None
    if text not in _RECIPES:
        raise lacking("fp8 recipe", text)
    return _RECIPES[text]


def _gradient_bytes(row: RunRow, precision: str) -> float | None:
    """Stated by the row or a habit of its software; None: what the profile keeps."""
    if _BF16 in (row.layout.grad_dtype or ""):
        return 2.0
    recipes = any(word in (row.software or "").lower() for word in _BF16_GRADIENTS)
    return 2.0 if recipes and precision not in ("fp16", "fp32") else None


def _optimizer(row: RunRow) -> Any:
    text = f"{row.layout.optimizer or ''} {row.model.optimizer or ''}".lower()
    for name in ("muon", "galore", "adafactor", "lamb"):
        if name in text:
            return name
    return "adam8bit" if "8-bit" in text else "adamw"


def _dropout(row: RunRow, setting: Mapping[str, Any]) -> float:
    """Megatron's GPT scripts train with 0.1 (its default); fused attention came with models that use none."""
    old = row.framework in ("megatron-lm", "megatron-deepspeed")
    return 0.1 if old and setting["attention"] == "unfused" and not row.model.gated_mlp else 0.0
