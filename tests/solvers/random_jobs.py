"""Small jobs by seed: dense and with experts, on hardware of random speeds, memory, nodes and network levels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

from planner.hardware.types import Accelerator, Cluster, Host, KernelConstants, NetworkLevel
from planner.jobs.framework import Framework, load_framework
from planner.jobs.types import Job, SearchOptions, Training
from planner.models.catalogue import load_model
from tests.solvers.lister import at_most

FRAMEWORKS = (
    "ideal",
    "megatron-core",
    "megatron-lm",
    "megatron-deepspeed",
    "deepspeed",
    "fsdp",
    "torchtitan",
    "composer-fsdp",
    "maxtext",
    "mindspeed",
    "internevo",
)


def random_job(seed: int, most: int) -> Job:
    """A job of at most ``most`` legal layouts, on up to 64 devices.

    Args:
        seed: decides everything. most: options are drawn that narrow the space until it is that small.
    """
    draw = Random(seed)
    framework = _framework(FRAMEWORKS[seed % len(FRAMEWORKS)])
    while True:
        job = _job(draw, framework)
        for narrowing in draw.sample(_NARROWINGS, len(_NARROWINGS)):
            if at_most(job, most):
                return job
            job = replace(job, search=_narrowed(job.search, narrowing))


_NARROWINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("limit", {"micro_batch": 2}),
    ("limit", {"tp": 4}),
    ("limit", {"pp": 4, "vpp": 2}),
    ("limit", {"ep": 4, "etp": 2}),
    ("limit", {"cp": 2}),
    ("limit", {"dp": 8}),
    ("fix", {"offload": "none"}),
    ("allow", {"recompute": ["selective", "full"]}),
    ("allow", {"schedule": ["1f1b", "interleaved_1f1b"]}),
    ("allow", {"zero_stage": [1, 3]}),
)


def _narrowed(search: SearchOptions, narrowing: tuple[str, dict[str, Any]]) -> SearchOptions:
    section, entries = narrowing
    changes: Any = {section: {**getattr(search, section), **entries}}
    return replace(search, **changes)


@cache
def _framework(name: str) -> Framework:
    return load_framework(name)


def _job(draw: Random, framework: Framework) -> Job:
    cluster = random_cluster(draw)
    allow: dict[str, Any] = {"idle_devices": True} if draw.random() < 0.15 else {}
    batch = cluster.devices * draw.choice((1, 2, 4)) if draw.random() < 0.6 else draw.choice((16, 24, 48, 60))
    return Job(
        name="random",
        model=load_model(_model(draw))[1],
        cluster=cluster,
        training=Training(global_batch=batch, seq_len=draw.choice((512, 1536, 4096, 16384))),
        framework=framework,
        search=SearchOptions(allow=allow, memory_reserve=draw.choice((0.0, 0.06, 0.2))),
    )


def _between(draw: Random, low: float, high: float) -> float:
    """Evenly in the logarithm."""
    return float(low * (high / low) ** draw.random())


def random_cluster(draw: Random) -> Cluster:
    """Nodes of 1 to 8 devices, joined by one to three levels."""
    while True:
        nodes, per_node = draw.choice((1, 2, 3, 4, 6, 8, 12, 16)), draw.choice((1, 2, 3, 4, 6, 8))
        if 2 <= nodes * per_node <= 64:
            break
    peak = _between(draw, 3e13, 2.5e15)
    accelerator = Accelerator(
        name="random",
        vendor="random",
        architecture="random",
        peak_flops={"bf16": peak, "fp16": peak, "fp32": peak / 8},
        memory_bytes=80e9,
        memory_bandwidth=_between(draw, 4e11, 8e12),
        compute_units=draw.choice((None, 108, 132)),
        kernels=KernelConstants(matmul_efficiency={"bf16": 0.7, "fp16": 0.7, "fp32": 0.8}),
    )
    host = Host(
        memory_bytes=draw.choice((None, _between(draw, 2e10, 4e12))),
        link_bandwidth=_between(draw, 5e9, 9e11),
        shared_by=draw.choice((1, per_node)),
    )
    return Cluster(
        "random", accelerator, nodes, per_node, _network(draw, nodes, per_node), host, draw.uniform(0.5, 9.0)
    )


def _network(draw: Random, nodes: int, per_node: int) -> tuple[NetworkLevel, ...]:
    between = [per_node * n for n in range(2, nodes) if nodes % n == 0]
    middle = [draw.choice(between)] if between and draw.random() < 0.4 else []
    sizes = sorted({per_node, *middle, nodes * per_node} - {1})
    bandwidth = _between(draw, 2e10, 9e11)
    levels = []
    for place, size in enumerate(sizes):
        outermost = place == len(sizes) - 1
        levels.append(
            NetworkLevel(
                name=f"level{place}",
                size=size,
                bandwidth=bandwidth,
                latency_s=_between(draw, 5e-7, 5e-5),
                fabric=draw.choice(
                    ("switch", "ring", "full_mesh") if place == 0 else ("switch", "fat_tree", "rail")
                ),
                oversubscription=draw.choice((1.0, 1.0, 3.0)) if outermost and place else 1.0,
                efficiency=draw.uniform(0.5, 0.95),
            )
        )
        # mostly slower outside, sometimes not
        bandwidth *= _between(draw, 0.02, 1.5)
    return tuple(levels)


def _model(draw: Random) -> dict[str, Any]:
    heads = draw.choice((4, 6, 8, 16))
    kv_heads = draw.choice([n for n in (1, 2, 4, heads) if heads % n == 0])
    hidden = heads * draw.choice((64, 128, 256))
    model: dict[str, Any] = {
        "layers": draw.choice((2, 3, 4, 6, 8, 12)),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "ffn_hidden": hidden * draw.choice((2, 3, 4)),
        "gated_mlp": draw.random() < 0.5,
        "vocab": draw.choice((1000, 32000, 128256)),
        "tied_embeddings": draw.random() < 0.3,
        "biases": draw.random() < 0.3,
    }
    if draw.random() < 0.5:
        model["moe"] = {
            "experts": draw.choice((4, 6, 8, 16)),
            "topk": draw.choice((1, 2, 3)),
            "moe_ffn": draw.choice((512, 1024, 1536)),
            "shared_experts": draw.choice((0, 0, 1)),
            "dense_layers": draw.choice((0, 0, 1)),
        }
        if draw.random() < 0.3:
            del model["kv_heads"]
            sizes = {"kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64}
            model["mla"] = sizes
    return model
