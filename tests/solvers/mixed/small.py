"""Small jobs on clusters with groups, described in memory."""

from __future__ import annotations

from typing import Any

from planner.jobs.loader import open_job
from planner.solvers.mixed.job import MixedJob, load_mixed

TINY = {"preset": "llama3-8b", "layers": 4}
FEW: dict[str, Any] = {"fix": {"cp": 1, "offload": "none"}, "allow": {"recompute": ["none", "full"]}}


def group(
    name: str,
    devices: int,
    *,
    per_node: int = 2,
    speed: float = 1.0,
    memory: str = "80 GB",
    bandwidth: str = "25 GB/s",
    price: float | None = None,
) -> dict[str, Any]:
    """A group of devices that multiply at ``speed`` x 300 TFLOP/s."""
    per_node = min(per_node, devices)
    levels = [{"name": "nvlink", "size": per_node, "bandwidth": "300 GB/s", "latency": "2 us"}]
    if devices > per_node:
        levels.append({"name": "ib", "size": devices, "bandwidth": bandwidth, "latency": "5 us"})
    result: dict[str, Any] = {
        "name": name,
        "accelerator": {
            "name": f"device-{name}",
            "peak_flops": {"bf16": 3e14 * speed, "fp16": 3e14 * speed, "fp32": 3e13 * speed},
            "memory": memory,
            "memory_bandwidth": "2 TB/s",
        },
        "nodes": devices // per_node,
        "devices_per_node": per_node,
        "network": levels,
    }
    return result if price is None else {**result, "price_per_device_hour": price}


def mapping(
    groups: list[dict[str, Any]],
    *,
    batch: int = 8,
    model: Any = None,
    bandwidth: str = "25 GB/s",
    latency: str = "5 us",
    between: Any = None,
    search: dict[str, Any] | None = None,
    **training: Any,
) -> dict[str, Any]:
    """A job on these groups; its space is small unless ``search`` says otherwise."""
    link = {"bandwidth": bandwidth, "latency": latency} if between is None else between
    return {
        "model": model or TINY,
        "cluster": {"name": "mixed", "groups": groups, "between": link},
        "training": {
            "global_batch": batch,
            "seq_len": 2048,
            "framework": "megatron-lm",
            **training,
        },
        "search": search or FEW,
    }


def mixed(*groups: dict[str, Any], **options: Any) -> MixedJob:
    """The job of a mapping, resolved."""
    job = load_mixed(open_job(mapping(list(groups), **options)))
    assert job is not None
    return job
