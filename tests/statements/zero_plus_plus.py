"""ZeRO-3 and ZeRO++ on 24 DGX-2 nodes of V100 (arXiv 2306.10209 and DeepSpeed's blog)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

from tests.statements.jobs import MEGATRON_2021, gpt, hardware_tflops, job, seconds
from tests.statements.statement import Compute, Figures

# layers, hidden, heads: of 18B as published, the others have the stated number of parameters
MODELS = {"18B": (40, 6144, 32), "49B": (60, 8192, 64), "91B": (72, 10240, 80), "138B": (76, 12288, 96)}
DEVICES, PER_NODE, SEQ_LEN = 384, 16, 512
QUANTISED: dict[str, Any] = {"parameter_gather_dtype": "int8", "gradient_reduce_dtype": "int4"}


@cache
def tflops(model: str, gbps: int, tokens: int) -> tuple[float, float]:
    """TFLOP/s per device, recompute counted, of ZeRO-3 and of ZeRO++ at that network rate of a node."""
    cluster: dict[str, Any] = {
        "name": f"24 DGX-2 at {gbps} Gb/s",
        "accelerator": "v100-sxm-32gb",
        "nodes": DEVICES // PER_NODE,
        "devices_per_node": PER_NODE,
        "network": [
            {"name": "nvlink", "kind": "nvlink2-switch", "size": PER_NODE},
            {"name": "infiniband", "kind": "infiniband-edr", "bandwidth": f"{gbps / PER_NODE} Gb/s"},
        ],
    }
    layers, hidden, heads = MODELS[model]
    shape = gpt(layers, hidden, heads, vocab=50257, seq_len=SEQ_LEN)
    batch = DEVICES * tokens // SEQ_LEN
    plain = MEGATRON_2021 | {"framework": "deepspeed-2023"}
    knobs = f"micro_batch={tokens // SEQ_LEN},recompute=full,"
    whole = f"parameters:{DEVICES},gradients:{DEVICES},optimizer:{DEVICES}"
    result = []
    for options, layout in (
        ({}, f"{knobs}zero_stage=3"),
        (QUANTISED, knobs + "shard={" + whole + f",parameters_secondary:{PER_NODE}" + "}"),
    ):
        work = job(shape, cluster, DEVICES, batch, SEQ_LEN, **(plain | options))
        result.append(hardware_tflops(work, seconds(work, layout)))
    return result[0], result[1]


CELLS = [*product(MODELS, (400, 100), (1024, 2048)), *product(("18B", "138B"), (200, 800), (2048,))]


def throughputs() -> Figures:
    cells: dict[str, float] = {}
    for model, gbps, tokens in CELLS:
        pair = tflops(model, gbps, tokens)
        cells |= {
            f"{model} {gbps} Gb/s {tokens // 1024}K {name}": rate
            for name, rate in zip(("ZeRO-3", "ZeRO++"), pair, strict=True)
        }
    return cells


def speedups() -> Mapping[str, float]:
    return {
        f"{model} {gbps} Gb/s {tokens // 1024}K": tflops(model, gbps, tokens)[1]
        / tflops(model, gbps, tokens)[0]
        for model, gbps, tokens in CELLS
    }


STATEMENTS: dict[str, Compute] = {"throughput": throughputs, "speedup": speedups}
