"""Megatron-LM's PTD-P: pipeline, tensor and data parallelism on A100 (arXiv 2104.04473)."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import pairwise, product
from typing import Any

from planner.jobs.types import Job
from tests.statements.jobs import (
    MEGATRON_2021,
    Model,
    best,
    evaluated,
    gpt,
    hardware_tflops,
    job,
    legal,
    seconds,
)
from tests.statements.statement import Compute, Figures

CLUSTER = "a100-superpod"
FULL = "sp=false,micro_batch=1,recompute=full"

# parameters: layers, hidden, heads, t, p, devices, batch
TABLE_1 = {
    "1.7B": (24, 2304, 24, 1, 1, 32, 512),
    "3.6B": (30, 3072, 32, 2, 1, 64, 512),
    "7.5B": (36, 4096, 32, 4, 1, 128, 512),
    "18.4B": (40, 6144, 48, 8, 1, 256, 1024),
    "39.1B": (48, 8192, 64, 8, 2, 512, 1536),
    "76.1B": (60, 10240, 80, 8, 4, 1024, 1792),
    "145.6B": (80, 12288, 96, 8, 8, 1536, 2304),
    "310.1B": (96, 16384, 128, 8, 16, 1920, 2160),
    "529.6B": (105, 20480, 128, 8, 35, 2520, 2520),
    "1008B": (128, 25600, 160, 8, 64, 3072, 3072),
}


def megatron(model: Model, devices: int, batch: int) -> Job:
    return job(model, CLUSTER, devices, batch, **MEGATRON_2021)


@cache
def table_1_readings(name: str) -> tuple[float, ...]:
    """TFLOP/s per device over the micro-batches and virtual stages that the table leaves open, of layouts that fit."""
    layers, hidden, heads, t, p, devices, batch = TABLE_1[name]
    work = megatron(gpt(layers, hidden, heads), devices, batch)
    layouts = []
    for b, v in product((1, 2, 4, 8), (1, 2, 3, 5)):
        in_flight = batch // (devices // (t * p) * b)
        divides = batch % (devices // (t * p) * b) == 0 and layers % (p * v) == 0
        if divides and (v == 1 or (p > 1 and in_flight % p == 0)):
            layouts.append(legal(work, f"tp={t},sp=false,pp={p},vpp={v},micro_batch={b},recompute=full"))
    found = evaluated(work, layouts)
    return tuple(hardware_tflops(work, step) for step in found.step_time_s[found.memory.fits])


def table_1() -> Figures:
    """The geometric middle of the readings."""
    readings = {name: table_1_readings(name) for name in TABLE_1}
    return {name: (min(found) * max(found)) ** 0.5 for name, found in readings.items()}


def table_1_nearest() -> Figures:
    """The best reading of what is open, over the published figure."""
    published = (137, 138, 142, 135, 138, 140, 148, 155, 163, 163)
    return {
        name: min((value / figure for value in table_1_readings(name)), key=lambda ratio: abs(ratio - 1))
        for name, figure in zip(TABLE_1, published, strict=True)
    }


def weak_scaling_order() -> Figures:
    """TFLOP/s of each model over the next smaller one, from the first with 8 pipeline stages on."""
    values, names = table_1(), ("145.6B", "310.1B", "529.6B", "1008B")
    return {after: values[after] / values[before] for before, after in pairwise(names)}


ZERO_3 = {"175B": ("gpt3-175b", 12, (384, 768, 1536)), "530B": ("megatron-530b", 35, (560, 1120, 2240))}


def ptd_tflops() -> Figures:
    figures: dict[str, float] = {}
    for size, (model, p, counts) in ZERO_3.items():
        for devices in counts:
            work = megatron(model, devices, 1536 if size == "175B" else 2240)
            figures[f"{size} {devices}"] = hardware_tflops(work, seconds(work, f"tp=8,pp={p},{FULL}"))
    return figures


def zero_3_tflops() -> Figures:
    cells = {("gpt3-175b", 384, 4), ("gpt3-175b", 768, 2), ("gpt3-175b", 1536, 1)}
    cells |= {("megatron-530b", 640, 4), ("megatron-530b", 1120, 2), ("megatron-530b", 2240, 1)}
    figures: dict[str, float] = {}
    for model, devices, b in sorted(cells):
        work = job(model, CLUSTER, devices, devices * b, **(MEGATRON_2021 | {"framework": "deepspeed-2021"}))
        step = seconds(work, f"zero_stage=3,micro_batch={b},recompute=full")
        figures[f"{model.split('-')[1].upper()} {devices}"] = hardware_tflops(work, step)
    return figures


def ptd_over_zero_3() -> Figures:
    ptd, zero = ptd_tflops(), zero_3_tflops()
    pairs = {"175B 384": "175B 384", "175B 768": "175B 768", "175B 1536": "175B 1536"}
    pairs |= {"530B 560": "530B 640", "530B 1120": "530B 1120", "530B 2240": "530B 2240"}
    return {cell: ptd[cell] / zero[other] for cell, other in pairs.items()}


def interleaving() -> Figures:
    """Gain of two chunks per rank, 175B on 96 devices."""
    return {
        f"batch {batch}": seconds(work, f"tp=8,pp=12,{FULL}") / seconds(work, f"tp=8,pp=12,vpp=2,{FULL}")
        for batch in (12, 24, 36, 48, 60)
        if (work := megatron("gpt3-175b", 96, batch))
    }


def interleaving_gap_closes() -> Figures:
    gains = list(interleaving().values())
    return {"largest over smallest batch": (gains[-1] - 1) / (gains[0] - 1)}


GPT_162B = gpt(32, 20480, 128)
GPT_5_9B = gpt(32, 3840, 32)
GPT_91B = gpt(72, 10240, 80)
GPT_145B = gpt(80, 12288, 96)


def tensor_against_pipeline() -> Figures:
    """Throughput of tp 8 x pp 8 over the best other split."""
    figures: dict[str, float] = {}
    for batch in (32, 128):
        work = megatron(GPT_162B, 64, batch)
        step = {t: seconds(work, f"tp={t},pp={64 // t},{FULL}") for t in (2, 4, 8, 16, 32)}
        figures[f"batch {batch}"] = min(step[t] for t in step if t != 8) / step[8]
    return figures


def search_162b() -> Figures:
    """tp that the search finds, micro-batch 1 and full recompute as in the figure."""
    fixed: dict[str, Any] = {
        "micro_batch": 1,
        "recompute": "full",
        "sp": False,
        "vpp": 1,
        "dp": 1,
        "schedule": "1f1b",
    }
    fixed["recompute_layers"] = None  # all of them
    options = {"fix": fixed, "allow": {"tp": [2, 4, 8, 16, 32]}}
    return {
        f"batch {batch}": best(job(GPT_162B, CLUSTER, 64, batch, search=options, **MEGATRON_2021)).tp
        for batch in (32, 128)
    }


def pipeline_against_data() -> Figures:
    """Throughput of each pipeline degree over the half of it."""
    figures: dict[str, float] = {}
    for batch in (128, 512):
        work = megatron(GPT_5_9B, 64, batch)
        steps = {p: seconds(work, f"pp={p},{FULL}") for p in (2, 4, 8, 16, 32)}
        figures |= {f"batch {batch}, pp {p}": steps[p // 2] / steps[p] for p in (4, 8, 16, 32)}
    return figures


def tensor_against_data() -> Figures:
    """Throughput of each tensor degree over the half of it, at larger batches."""
    figures: dict[str, float] = {}
    for batch in (128, 512):
        work = megatron(GPT_5_9B, 64, batch)
        steps = {t: seconds(work, f"tp={t},{FULL}") for t in (2, 4, 8, 16, 32)}
        figures |= {f"batch {batch}, tp {t}": steps[t // 2] / steps[t] for t in (4, 8, 16, 32)}
    return figures


def best_micro_batch() -> Figures:
    figures: dict[str, float] = {}
    for batch in (128, 512):
        work = megatron(GPT_91B, 64, batch)
        layout = "tp=8,sp=false,pp=8,recompute=full,micro_batch="
        figures[f"batch {batch}"] = min((1, 2, 4, 8), key=lambda b: seconds(work, f"{layout}{b}"))
    return figures


def recompute_cost() -> Figures:
    """Throughput without recompute over that with it, at small batches that fit without."""
    layout = "tp=8,sp=false,pp=16,micro_batch=1,recompute="
    return {
        f"batch {batch}": seconds(work, f"{layout}full") / seconds(work, f"{layout}none")
        for batch in (1, 2, 4, 8)
        if (work := megatron(GPT_145B, 128, batch))
    }


def recompute_gain() -> Figures:
    """Best throughput with recompute over the best that fits without it."""
    best_of = dict.fromkeys(("full", "none"), 0.0)
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        work = megatron(GPT_145B, 128, batch)
        layouts = [legal(work, f"tp=8,sp=false,pp=16,micro_batch=1,recompute={mode}") for mode in best_of]
        found = evaluated(work, layouts)
        for mode, step, fits in zip(best_of, found.step_time_s, found.memory.fits, strict=True):
            best_of[mode] = max(best_of[mode], batch / float(step) if fits else 0.0)
    return {"best over best": best_of["full"] / best_of["none"]}


def operator_fusion() -> Figures:
    """Throughput with the fused kernels of section 4.2 over that without them."""
    figures: dict[str, float] = {}
    for size, (model, p, counts) in ZERO_3.items():
        work = megatron(model, counts[1], 1536 if size == "175B" else 2240)
        apart = work.framework.fusions - {"softmax", "activation", "dropout_add"}
        plain = dataclasses.replace(work, framework=work.framework.model_copy(update={"fusions": apart}))
        layout = f"tp=8,pp={p},{FULL}"
        figures[size] = seconds(plain, layout) / seconds(work, layout)
    return figures


def scatter_gather() -> Figures:
    """Throughput with pipeline messages cut over the tensor group over that without, interleaved, largest batch."""
    work = megatron("gpt3-175b", 96, 60)
    whole = dataclasses.replace(work, framework=work.framework.model_copy(update={"scatters_hops": False}))
    layouts = {v: f"tp=8,pp=12,vpp={v},{FULL}" for v in (2, 4, 8)}
    return {f"{v} chunks": seconds(whole, layout) / seconds(work, layout) for v, layout in layouts.items()}


def scatter_gather_nearest() -> Figures:
    """The number of chunks that comes nearest to the published gain."""
    return {"largest batch": min(scatter_gather().values(), key=lambda gain: abs(gain - 1.11))}


def checkpoint_bytes() -> Figures:
    """Terabytes of weights, master copies and moments of the 1T model."""
    work = megatron("megatron-1t", 3072, 3072)
    law = work.framework.state_law("fp16")
    return {"1T": (law.parameters + law.master + 8) * work.model.parameter_count / 1e12}


STATEMENTS: dict[str, Compute] = {
    "table-1-throughput": table_1,
    "table-1-nearest-reading": table_1_nearest,
    "weak-scaling-order": weak_scaling_order,
    "table-2-ptd-p": ptd_tflops,
    "table-2-zero-3": zero_3_tflops,
    "ptd-p-over-zero-3": ptd_over_zero_3,
    "interleaving-gains": interleaving,
    "interleaving-gap-closes": interleaving_gap_closes,
    "tensor-parallelism-fills-the-node": tensor_against_pipeline,
    "search-162b": search_162b,
    "pipeline-against-data": pipeline_against_data,
    "tensor-against-data": tensor_against_data,
    "best-micro-batch": best_micro_batch,
    "recompute-costs": recompute_cost,
    "recompute-wins": recompute_gain,
    "operator-fusion": operator_fusion,
    "scatter-gather": scatter_gather,
    "scatter-gather-nearest-reading": scatter_gather_nearest,
    "checkpoint-size": checkpoint_bytes,
}
