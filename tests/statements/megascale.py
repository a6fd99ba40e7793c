"""MegaScale and its Megatron-LM baseline on up to 12,288 A100 (arXiv 2402.15627)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from planner.jobs.types import Job
from tests.statements.jobs import gpt, job, seconds, utilisation
from tests.statements.statement import Compute, Figures

# devices -> batch of the strong-scaling runs
STRONG = {256: 768, 512: 768, 768: 768, 1024: 768, 3072: 6144, 6144: 6144, 8192: 6144, 12288: 6144}
LAYOUT = "tp=8,pp=8,vpp=6,micro_batch=1,zero_stage=1,recompute="
# the paper leaves the window open; 512 is a quarter of the sequence
WINDOW = 512
BASELINE: dict[str, Any] = {"framework": "megatron-lm", "precision": "bf16", "attention": "unfused"}
OVERLAPPED = {"dp_reduce": True, "dp_gather": True}


CLUSTER = {
    "name": "1,536 nodes",
    "accelerator": "a100-sxm-80gb",
    "nodes": 1536,
    "devices_per_node": 8,
    "network": [
        {"name": "nvlink", "kind": "nvlink3", "size": 8},
        {"name": "infiniband", "kind": "infiniband-hdr"},
    ],
}


def model_175b(**more: Any) -> dict[str, Any]:
    return gpt(96, 12288, 128, vocab=64000, tied_embeddings=False, **more)


def run(devices: int, batch: int, model: dict[str, Any], **training: Any) -> Job:
    return job(model, CLUSTER, devices, batch, **(BASELINE | training))


@cache
def baseline() -> Mapping[int, float]:
    """Step time by devices: selective recompute, unfused attention."""
    return {n: seconds(run(n, batch, model_175b()), f"{LAYOUT}selective") for n, batch in STRONG.items()}


def baseline_steps() -> Figures:
    return {str(devices): step for devices, step in baseline().items()}


def baseline_utilisation() -> Figures:
    """Model FLOPs utilisation, and its decay within each of the two batches."""
    mfu = {n: utilisation(run(n, batch, model_175b()), baseline()[n]) for n, batch in STRONG.items()}
    return {"256 minus 1024": mfu[256] - mfu[1024], "3072 minus 12288": mfu[3072] - mfu[12288]}


def improved(devices: int, batch: int, *, lamb: bool = True) -> Job:
    """All of the paper's changes: parallel block, window, overlap, fused operators."""
    overlap = {"tp": True, "pp": True, **OVERLAPPED}
    model = model_175b(parallel_block=True, sliding_window=WINDOW)
    return run(
        devices, batch, model, overlap=overlap, attention="flash", optimizer="lamb" if lamb else "adamw"
    )


def megascale_steps() -> Figures:
    return {str(n): seconds(improved(n, batch), f"{LAYOUT}none") for n, batch in STRONG.items()}


def speedups() -> Figures:
    return {str(n): baseline()[n] / step for n, step in zip(STRONG, megascale_steps().values(), strict=True)}


def speedup_at_12288() -> Figures:
    return {"12288": speedups()["12288"]}


@cache
def ablation() -> Mapping[str, float]:
    """Utilisation of 256 devices after each change; FLOPs of the plain model with full attention throughout."""
    layout, plain = f"{LAYOUT}selective", run(256, 256, model_175b())
    block = model_175b(parallel_block=True)
    window = model_175b(parallel_block=True, sliding_window=WINDOW)
    tp, pp = {"tp": True}, {"tp": True, "pp": True}
    steps = {
        "baseline": seconds(plain, layout),
        "parallel block": seconds(run(256, 256, block), layout),
        "window": seconds(run(256, 256, window), layout),
        "tp overlap": seconds(run(256, 256, window, overlap=tp), layout),
        "pp overlap": seconds(run(256, 256, window, overlap=pp), layout),
        "dp overlap": seconds(run(256, 256, window, overlap=pp | OVERLAPPED), layout),
        "operators": seconds(
            run(256, 256, window, overlap=pp | OVERLAPPED, attention="flash"), f"{LAYOUT}none"
        ),
        "batch x 3": seconds(improved(256, 768), f"{LAYOUT}none") / 3,
    }
    return {name: utilisation(plain, step) for name, step in steps.items()}


def increments() -> Figures:
    values = list(ablation().items())
    return {name: value - before for (_, before), (name, value) in pairwise(values)}


def ablation_baseline() -> Figures:
    return {"baseline": ablation()["baseline"]}


def weak_530b() -> Figures:
    """Utilisation of the baseline with a batch of one sequence per device."""
    figures: dict[str, float] = {}
    for devices in (2240, 4480, 11200):
        work = run(devices, devices, gpt(105, 20480, 160, vocab=64000, tied_embeddings=False))
        step = seconds(work, "tp=8,pp=35,vpp=3,micro_batch=1,zero_stage=1,recompute=selective")
        figures[str(devices)] = utilisation(work, step)
    return figures


STATEMENTS: dict[str, Compute] = {
    "megatron-lm-step-times": baseline_steps,
    "megatron-lm-decay": baseline_utilisation,
    "megascale-step-times": megascale_steps,
    "speedup-over-megatron-lm": speedups,
    "speedup-at-12288": speedup_at_12288,
    "ablation-baseline": ablation_baseline,
    "ablation-increments": increments,
    "weak-scaling-530b": weak_530b,
}
