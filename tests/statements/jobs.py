"""Jobs and layouts of published statements, with one line each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from planner.costs.convention import model_flops
from planner.costs.evaluate import Evaluation, evaluate, step_times
from planner.hardware.loader import load_cluster, use_devices
from planner.jobs.framework import load_framework
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import require_legal
from planner.solvers.search import search
from planner.validation.runs.measured import megatron_hardware_flops

Model = str | dict[str, Any]

MEGATRON_2021: dict[str, Any] = {
    "framework": "megatron-lm",
    "precision": "fp16",
    "attention": "unfused",
    "dropout": 0.1,
}
"""Megatron-LM before fused attention."""


def gpt(layers: int, hidden: int, heads: int, vocab: int = 51200, **more: Any) -> dict[str, Any]:
    """A GPT of those dimensions."""
    shape = {"layers": layers, "hidden": hidden, "heads": heads, "ffn_hidden": 4 * hidden, "vocab": vocab}
    rest = {
        "norm": "layer",
        "biases": "all",
        "positions": "learned",
        "tied_embeddings": True,
        "seq_len": 2048,
    }
    return shape | rest | more


def job(
    model: Model,
    cluster: Model,
    devices: int,
    global_batch: int,
    seq_len: int = 2048,
    search: dict[str, Any] | None = None,
    **training: Any,
) -> Job:
    """A job on that many devices of a cluster of the catalogue."""
    source = {"model": model, "cluster": cluster, "devices": devices, "search": search or {}}
    return _loaded(
        json.dumps(source | {"training": {"global_batch": global_batch, "seq_len": seq_len} | training})
    )


@cache
def _loaded(source: str) -> Job:
    return load_job(json.loads(source))


def legal(work: Job, knobs: str) -> Layout:
    """The layout of those knobs; an error when it is illegal."""
    layout = parse_layout(knobs, work)
    require_legal(work, layout)
    return layout


def seconds(work: Job, knobs: str) -> float:
    """Predicted step time of a layout."""
    return float(step_times(work, from_layouts([legal(work, knobs)]))[0])


def evaluated(work: Job, layouts: Sequence[Layout]) -> Evaluation:
    """Step times and memory of layouts."""
    return evaluate(work, from_layouts(layouts))


def best(work: Job) -> Layout:
    """What the search finds."""
    return parse_layout(search(work, top=1, pareto=False).plans[0].layout, work)


def hardware_tflops(work: Job, step_time_s: float) -> float:
    """TFLOP/s per device as arXiv 2104.04473 counts them, recompute included."""
    return megatron_hardware_flops(work) / step_time_s / work.devices / 1e12


def utilisation(work: Job, step_time_s: float) -> float:
    """Model FLOPs utilisation in percent, full attention square."""
    peak = work.cluster.accelerator.peak_flops[work.training.precision]
    return 100 * model_flops(work, "full_square") / (work.devices * peak * step_time_s)


def on_priors(work: Job) -> Job:
    """The same job without any fitted constant."""
    cluster = load_cluster(work.source["cluster"], calibrated=False)
    framework = load_framework(work.framework.name)
    return replace(work, cluster=use_devices(cluster, work.devices), framework=framework)


def scaled_matmuls(work: Job, knobs: str, step_time_s: float) -> Callable[[Job], Job]:
    """Multiplies the plateau of all matmuls by the one factor that gives a layout that step time."""

    def scaled(target: Job, factor: float) -> Job:
        kernels = target.cluster.accelerator.kernels
        plateau = {name: value * factor for name, value in kernels.matmul_efficiency.items()}
        accelerator = replace(target.cluster.accelerator, kernels=replace(kernels, matmul_efficiency=plateau))
        return replace(target, cluster=replace(target.cluster, accelerator=accelerator))

    low, high = 0.3, 3.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        slow = seconds(scaled(work, middle), knobs) > step_time_s
        low, high = (middle, high) if slow else (low, middle)
    return lambda target: scaled(target, middle)
