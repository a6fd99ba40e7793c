"""Pangu Ultra MoE on Ascend (arXiv 2505.04519)."""

from __future__ import annotations

from functools import cache
from typing import Any

from planner.models.catalogue import load_model
from tests.statements.jobs import job, seconds
from tests.statements.statement import Compute, Figures

# experts are spread over tp x ep = 8 x 4 ranks and never split: ep 32 and etp 1 here
LAYOUT = "tp=8,pp=16,vpp=2,ep=32,etp=1,micro_batch=2,zero_stage=1,"
CHUNKS, BATCH = 32, 6144
FEATURES = {"baseline": ("full", False), "all features": ("selective", True)}


def spread_layers(layers: int) -> str:
    """Layers by chunk: as even as it goes, spare ones right after the embedding's chunk."""
    even, spare = divmod(layers, CHUNKS)
    return ",".join(str(even + (0 < chunk <= spare)) for chunk in range(CHUNKS))


@cache
def tokens_per_device(layers: int, devices: int, feature: str) -> float:
    """Tokens per second and device; expert traffic overlaps and little is recomputed with all features."""
    recompute, overlap = FEATURES[feature]
    spec, _ = load_model("pangu-ultra-moe-718b")
    model = spec.model_dump(mode="json", exclude_defaults=True) | {"layers": layers}
    uneven = {"allow": {"uneven_stages": True}}
    options: dict[str, Any] = {"framework": "mindspeed", "overlap": {"ep": overlap}, "search": uneven}
    work = job(model, "ascend-910b-atlas", devices, BATCH, 4096, **options)
    step = seconds(work, f"{LAYOUT}recompute={recompute},layers_per_stage=[{spread_layers(layers)}]")
    return BATCH * 4096 / step / devices


def features() -> Figures:
    return {
        "per device": tokens_per_device(61, 6144, "all features") / tokens_per_device(61, 4096, "baseline")
    }


def depth() -> Figures:
    return {name: tokens_per_device(61, 6144, name) / tokens_per_device(66, 6144, name) for name in FEATURES}


STATEMENTS: dict[str, Compute] = {"gain-of-all-features": features, "depth-of-61": depth}
