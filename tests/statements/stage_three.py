"""DeepSpeed's stage 3 before and after it was rewritten for v0.6 (deepspeedai/DeepSpeed pull request 1453)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from planner.jobs.framework import load_framework
from planner.jobs.types import Job
from tests.statements.jobs import gpt, hardware_tflops, job, seconds
from tests.statements.statement import Compute, Figures

# layers, hidden, heads of about as many parameters; only their numbers and the vocabulary are stated
MODELS = {"10B": (48, 4096, 32), "50B": (62, 8192, 64)}
BATCH, SEQ_LEN, PER_NODE = 16, 512, 8
BEFORE, AFTER = "deepspeed-2021", "deepspeed"
SETTINGS: dict[str, Any] = {"precision": "bf16", "attention": "unfused", "dropout": 0.1}


def work(model: str, framework: str, nodes: int) -> Job:
    """A RoBERTa on p4d nodes, with the kernels of PyTorch in both releases."""
    layers, hidden, heads = MODELS[model]
    cluster = {
        "name": f"{nodes} p4d",
        "accelerator": "a100-sxm-40gb",
        "nodes": nodes,
        "devices_per_node": PER_NODE,
        "network": [
            {"name": "nvlink", "kind": "nvlink3", "size": PER_NODE},
            {"name": "efa", "kind": "efa-50"},
        ],
    }
    devices = nodes * PER_NODE
    shape = gpt(layers, hidden, heads, vocab=53000, seq_len=SEQ_LEN)
    found = job(shape, cluster, devices, BATCH * devices, SEQ_LEN, framework=framework, **SETTINGS)
    own = load_framework(AFTER)
    kernels = {"fusions": own.fusions, "loss_kernels": own.loss_kernels}
    return replace(found, framework=found.framework.model_copy(update=kernels))


@cache
def tflops(model: str, framework: str, nodes: int) -> float:
    """TFLOP/s per device without what is computed again."""
    found = work(model, framework, nodes)
    step = seconds(found, f"zero_stage=3,micro_batch={BATCH},recompute=full")
    return 0.75 * hardware_tflops(found, step)


def after() -> Figures:
    cells = (("10B", 8), ("50B", 8), ("50B", 32))
    return {f"{model} on {nodes * PER_NODE}": tflops(model, AFTER, nodes) for model, nodes in cells}


def before() -> Figures:
    return {f"{model} on 64": tflops(model, BEFORE, 8) for model in MODELS}


STATEMENTS: dict[str, Compute] = {"rewritten": after, "released-in-2021": before}
