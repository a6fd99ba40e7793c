"""Points of the grid as the cost model sees them: jobs of the blocks, bytes of the operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.calibration.measure.grid import BLOCK_FRAMEWORKS
from planner.costs.optimizer import UPDATE_BYTES
from planner.jobs.loader import load_job
from planner.jobs.types import Job

LAYERS, VOCAB, WIDTH = 2, 1024, 32

PASSES: Mapping[str, float] = {"norm": 2.0, "activation": 2.0, "add": 3.0, "copy": 2.0}
"""Ideal reads and writes per element of the operators that wait for memory."""

ADAMW_BYTES = UPDATE_BYTES + 16.0
"""Of an update per parameter in fp32, as the cost model counts them: its own traffic, two moments read and written."""


def fields_of(point: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of a point."""
    return {name: int(value) for name, value in point.items() if isinstance(value, int) and value > 0}


def profile_of(point: Mapping[str, Any]) -> str:
    """The framework profile of a block."""
    return str(point.get("framework", BLOCK_FRAMEWORKS[0]))


def block_job(point: Mapping[str, Any], cluster: str | Mapping[str, Any]) -> Job:
    """The job whose forward and backward a block is: a small gated decoder with grouped heads on one device."""
    sizes = fields_of(point)
    heads = max(sizes["hidden"] // (128 if sizes["hidden"] >= 2048 else WIDTH), 1)
    model = {
        "layers": LAYERS,
        "hidden": sizes["hidden"],
        "heads": heads,
        "kv_heads": max(heads // 2, 1),
        "ffn_hidden": sizes["hidden"] * 11 // 4,
        "gated_mlp": True,
        "vocab": VOCAB,
    }
    training = {
        "global_batch": sizes["batch"],
        "seq_len": sizes["sequence"],
        "precision": str(point["precision"]),
        "framework": profile_of(point),
    }
    return load_job({"name": "block", "model": model, "cluster": cluster, "devices": 1, "training": training})
