"""What the search finds for published jobs, and layouts that were measured to beat the published ones."""

from __future__ import annotations

from typing import Any

from tests.statements.jobs import MEGATRON_2021, Model, best, evaluated, gpt, job, legal, seconds
from tests.statements.sequence_parallel import CASES
from tests.statements.statement import Compute, Figures

FULL = {"sp": False, "recompute": "full", "recompute_layers": None}
GPT_18B, GPT_39B, GPT_145B = gpt(40, 6144, 48), gpt(48, 8192, 64), gpt(80, 12288, 96)

# name -> model, devices, batch, published layout, what the search may not choose
PUBLISHED: dict[str, tuple[Model, int, int, str, dict[str, Any]]] = {
    "18.4B on 256": (GPT_18B, 256, 1024, "tp=8,sp=false,micro_batch=8,recompute=full", FULL),
    "39.1B on 512": (GPT_39B, 512, 1536, "tp=8,sp=false,pp=2,micro_batch=4,recompute=full", FULL),
    "145.6B on 1536": (GPT_145B, 1536, 2304, "tp=8,sp=false,pp=8,vpp=5,micro_batch=2,recompute=full", FULL),
    "175B on 64": (gpt(96, 12288, 96), 64, 64, CASES["175B"].layout("selective", True), {}),
}


def published_over_found() -> Figures:
    """Step time of the published layout over that of the best one that the search finds."""
    figures = {}
    for name, (model, devices, batch, layout, fixed) in PUBLISHED.items():
        options = {"fix": {"zero_stage": 0, **fixed}, "limit": {"tp": 16, "micro_batch": 8}}
        work = job(model, "a100-superpod", devices, batch, search=options, **MEGATRON_2021)
        step = evaluated(work, [legal(work, layout), best(work)]).step_time_s
        figures[name] = float(step[0] / step[1])
    return figures


# model, devices, batch, published layout, measured faster one
BEATEN: dict[str, tuple[Model, int, int, str, str]] = {
    "3.6B on 64": (gpt(30, 3072, 32), 64, 512, "tp=2,micro_batch=8", "tp=1,micro_batch=8"),
    "39.1B on 512": (GPT_39B, 512, 1536, "tp=8,pp=2,micro_batch=2", "tp=4,pp=4,micro_batch=2"),
}


def beaten() -> Figures:
    """Step time of the published layout over that of the one measured to be faster."""
    figures = {}
    for name, (model, devices, batch, published, other) in BEATEN.items():
        options = MEGATRON_2021 | {"framework": "megatron-deepspeed"}
        work = job(model, "a100-superpod", devices, batch, **options)
        slow, fast = (seconds(work, f"{layout},sp=false,recompute=full") for layout in (published, other))
        figures[name] = slow / fast
    return figures


STATEMENTS: dict[str, Compute] = {"published-over-found": published_over_found, "beaten": beaten}
