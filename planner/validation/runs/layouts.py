"""The layout of a row: degrees, stages, shard groups, recompute."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

from planner.errors import PlannerError
from planner.jobs.framework import Framework
from planner.layouts.aliases import schedule_name
from planner.layouts.layout import Layout, Offload, Recompute, Schedule, Shard
from planner.layouts.presets import zero_shard
from planner.validation.runs.degrees import Degrees
from planner.validation.runs.refusal import Refused, lacking
from planner.validation.runs.rows import RunRow

_MODULES = {
    "core_attn": ("core_attention",),
    "layernorm": ("norm",),
    "moe_act": ("moe_activation",),
    "mla_up_proj": ("mla_up_proj",),
    "mlp": ("mlp", "activation"),
    "moe": ("moe", "router", "moe_activation", "moe_combine", "shared_experts"),
    "shared_experts": ("shared_experts",),
    "recompute-activation-function": ("activation", "moe_activation"),
    "recompute-norm": ("norm",),
}
"""Published recompute units (Megatron-Core's names and MindSpeed's switches) -> ours."""

KEPT_ON_DEVICE = "kept on device:"
"""Before the tensors that a row's note says a policy keeps on the device."""

_V_SHAPED: tuple[Schedule, ...] = ("zb_v", "v_half", "v_min", "dualpipe_v")


def layout_of(
    row: RunRow, degrees: Degrees, framework: Framework, setting: Mapping[str, Any], modules: Collection[str]
) -> Layout:
    """The layout of a row under one assignment of what it leaves open.

    Args:
        modules: recompute units that the model has.

    Raises:
        Refused: a schedule, recompute policy or number of layers that cannot be expressed.
    """
    layout = row.layout
    schedule, vpp = _schedule(row, degrees, setting["vpp"])
    stages = degrees.pp * (2 if schedule in _V_SHAPED else 1 if schedule == "dualpipe" else vpp)
    recompute, first_layers = _recompute(row, degrees, framework, setting["recompute"], modules)
    ulysses, ring = _context(degrees.cp, setting["cp_kind"], layout.ulysses_degree)
    return Layout(
        tp=degrees.tp,
        sp=bool(setting["sp"]) and degrees.tp > 1,
        ulysses=ulysses,
        ring=ring,
        pp=degrees.pp,
        vpp=vpp,
        schedule=schedule,
        ep=setting["ep"],
        etp=setting["etp"],
        dp=degrees.dp,
        shard=_shard(row, degrees, setting["zero_stage"]),
        micro_batch=setting["micro_batch"],
        micro_batches=degrees.global_batch // (degrees.dp * setting["micro_batch"]),
        recompute=recompute,
        recompute_layers=first_layers,
        offload=_offload(row),
        layers_per_stage=stage_layers(
            (row.model.layers or 1) + (row.model.mtp_layers or 0), stages, fills="deepspeed" in framework.name
        ),
        cp_kind="allgather" if setting["cp_kind"] == "allgather" else "ring",
    )


def stage_layers(layers: int, stages: int, *, fills: bool = False) -> tuple[int, ...] | None:
    """Layers of each virtual stage, None when they are equal.

    A published depth that does not divide usually counts embedding and head as layers of the first and last stage
    (Megatron-Core's account_for_embedding_in_pipeline_split); a multi-token-prediction layer is one of the layers.
    Otherwise layers are spread as evenly as they go, or, where the framework ``fills`` one stage after the other to the least
    depth that does (partition_balanced of deepspeed.runtime.utils), the last stage has what is left.
    """
    if layers % stages == 0 or stages == 1:
        return None
    for ends in ((1, 1), (0, 1)):
        whole = layers + sum(ends)
        share = whole // stages
        if whole % stages == 0 and share >= max(ends):
            return (share - ends[0], *([share] * (stages - 2)), share - ends[1])
    deepest = -(-layers // stages)
    if fills and layers > deepest * (stages - 1):
        return (*([deepest] * (stages - 1)), layers - deepest * (stages - 1))
    bounds = [round(index * layers / stages) for index in range(stages + 1)]
    shares = tuple(after - before for before, after in itertools.pairwise(bounds))
    if min(shares) < 1:
        raise Refused("fewer layers than virtual stages", f"{layers} and {stages}")
    return shares


def _schedule(row: RunRow, degrees: Degrees, vpp: int) -> tuple[Schedule, int]:
    if degrees.pp == 1:
        return "1f1b", 1
    text = re.sub(r"\(.*\)|-vpp\d+|-formatted", "", row.layout.schedule or "").strip()
    if not text:
        return ("interleaved_1f1b" if vpp > 1 else "1f1b"), vpp
    try:
        name = schedule_name(text)
    except PlannerError:
        raise lacking("schedule", text) from None
    if name == "1f1b" and vpp > 1:
        return "interleaved_1f1b", vpp
    if name == "dualpipe":  # sources count the stage of each direction as a chunk
        return name, 1
    return name, 2 if name in _V_SHAPED else vpp


def _context(cp: int, kind: str, ulysses: int | None) -> tuple[int, int]:
    """(ulysses, ring) degrees."""
    if kind == "ulysses":
        return cp, 1
    if kind == "usp":
        if ulysses is None or cp % ulysses:
            raise Refused("layout.ulysses_degree is not given")
        return ulysses, cp // ulysses
    return 1, cp


def _shard(row: RunRow, degrees: Degrees, stage: int) -> Shard:
    layout, group = row.layout, degrees.dp * degrees.cp
    if stage not in (0, 1, 2, 3):
        raise lacking("ZeRO stage", str(stage))
    if stage == 2 and degrees.pp > 1:
        stage = 1  # a chunk's gradients are whole until its last micro-batch, then reduced once (arXiv 2402.15627, 3.2)
    words = (layout.zero_stage_as_published or "").lower()
    size = layout.fsdp_shard_group
    if size is None and (found := re.search(r"group (\d+)", words)) and row.framework != "maxtext":
        size = int(found[1])
    if size is None and "hsdp" in words:
        size = row.hardware.per_node
    if size is None and layout.dp_replicas and group % layout.dp_replicas == 0:
        size = group // layout.dp_replicas
    if size is None or group % size:
        size = group
    return zero_shard(stage if size > 1 else 0, size)


def _recompute(
    row: RunRow, degrees: Degrees, framework: Framework, mode: str, modules: Collection[str]
) -> tuple[Recompute, int | None]:
    layout = row.layout
    extra = {unit for name in layout.recompute_extra for unit in _MODULES.get(name, ())}
    published = (layout.recompute_as_published or "").lower()
    if mode == "full":
        return Recompute("full"), layout.recompute_layers_per_stage
    if mode == "selective" and "every other layer" in published:
        return Recompute("full"), max(1, (row.model.layers or 1) // degrees.pp // 2)
    if mode == "custom" and "minimal" in published:  # MaxText keeps the outputs of its matmuls
        return Recompute("selective", tuple(sorted(set(framework.selective_modules) & set(modules)))), None
    if mode == "custom":
        return _custom(row, modules)
    if mode == "selective":
        named = [name for name in layout.recompute_modules if not name.startswith("see ")]
        for name in named:
            if name not in _MODULES:
                raise lacking("recompute module", name)
        extra |= {unit for name in named for unit in _MODULES[name]} or set(framework.selective_modules)
    chosen = tuple(sorted(extra & set(modules)))
    return (Recompute("selective", chosen) if chosen else Recompute()), None


def _custom(row: RunRow, modules: Collection[str]) -> tuple[Recompute, int | None]:
    """MaxText's custom policy names the tensors that are kept or moved to the host; all others are computed again."""
    if row.framework != "maxtext":
        raise lacking("custom recompute", row.layout.recompute_as_published or "")
    kept = f"{row.layout.note or ''} {' '.join(row.layout.offload)}"
    again = {"norm", "activation", "mlp", "attention", "core_attention", "moe", "shared_experts"}
    again |= {"moe_activation"} if "mlpwo" in kept else {"moe_activation", "moe_combine"}
    if "query_proj" in kept or "qkv_proj" in kept:
        again.discard("attention")
    if re.search(r"\bcontext\b", kept):
        again.discard("core_attention")
    whole = {"attention", "core_attention"} | ({"moe_combine"} & set(modules))
    if whole <= again:
        return Recompute("full"), None
    return Recompute("selective", tuple(sorted(again & set(modules)))), None


def _offload(row: RunRow) -> Offload:
    """Offload of optimizer and parameters (DeepSpeed's and MindSpeed's switches), and of activations (MaxText's)."""
    words = " ".join((*row.layout.offload, *row.layout.optimizer_memory)).lower()
    marks = ("optimizer=y", "optimizer/parameter", "optimizer on", "swap-optimizer")
    optimizer = any(mark in words for mark in marks)
    parameters = "parameters=y" in words or "optimizer/parameter" in words
    activations = _offloaded_share(row)
    return Offload(
        optimizer=("host", 1.0) if optimizer else ("hbm", 0.0),
        parameters=("host", 1.0) if parameters else ("hbm", 0.0),
        activations=("host", activations) if activations else ("hbm", 0.0),
    )


def _offloaded_share(row: RunRow) -> float:
    """Share of what MaxText's custom policy keeps that it keeps on the host, by count of tensors.

    The input of a layer stays on the device unless the policy names it.
    """
    if row.framework != "maxtext" or row.layout.recompute != "custom":
        return 0.0
    note = row.layout.note or ""
    kept = set(re.findall(r"\w+", note.partition(KEPT_ON_DEVICE)[2])) if KEPT_ON_DEVICE in note else set()
    moved = set(row.layout.offload) - kept
    return len(moved) / len(moved | kept | {"decoder_layer_input"}) if moved else 0.0
