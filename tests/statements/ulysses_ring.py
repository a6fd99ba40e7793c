"""USP: Ulysses x ring sequence parallelism on two A800 nodes (arXiv 2405.07719)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import prod

from planner.costs.convention import model_flops
from planner.costs.prices import price_model
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from tests.statements.context_parallel import attention
from tests.statements.jobs import Model, evaluated, job, legal
from tests.statements.statement import Compute, Figures

# name -> tp, Ulysses degree, ring degree
ON_16 = {
    "u8r2": (1, 8, 2), "u4r4": (1, 4, 4), "u2r8": (1, 2, 8), "r16": (1, 1, 16),
    "t8r2": (8, 1, 2), "t4u2r2": (4, 2, 2), "t4r4": (4, 1, 4), "t2r8": (2, 1, 8),
}  # fmt: skip
ON_8 = {
    "u8": (1, 8, 1),
    "t4": (4, 1, 1),
    "r8": (1, 1, 8),
    "t8": (8, 1, 1),
    "t4u2": (4, 2, 1),
    "t4r2": (4, 1, 2),
}


def layout(work: Job, degrees: tuple[int, int, int], micro_batch: int) -> Layout:
    t, u, r = degrees
    knobs = f"tp={t},ulysses={u},ring={r},zero_stage=1,recompute=none,micro_batch={micro_batch}"
    return legal(work, knobs)


@cache
def priced(model: str, devices: int, seq_len: int, batch: int) -> Mapping[str, tuple[float, bool]]:
    """TFLOP/s per device with causal FLOPs, no recompute, no accumulation, 16-bit gradients; and whether it fits."""
    work = job(model, "a800-cluster", devices, batch, seq_len, gradient_dtype="bf16")
    table = ON_16 if devices == 16 else ON_8
    replicas = {name: devices // prod(degrees) for name, degrees in table.items()}
    table = {name: degrees for name, degrees in table.items() if batch % replicas[name] == 0}
    layouts = [layout(work, degrees, batch // replicas[name]) for name, degrees in table.items()]
    found = evaluated(work, layouts)
    rates = model_flops(work, "causal_half") / found.step_time_s / devices / 1e12
    return {
        name: (float(rate), bool(fits))
        for name, rate, fits in zip(table, rates, found.memory.fits, strict=True)
    }


def llama3(thousands: int) -> Mapping[str, float]:
    return {name: rate for name, (rate, _) in priced("llama3-8b", 16, thousands * 1024, 1).items()}


def llama2(thousands: int, batch: int) -> Mapping[str, float]:
    return {name: rate for name, (rate, _) in priced("llama2-7b", 8, thousands * 1024, batch).items()}


RUN = {
    64: ("u8r2", "u4r4", "u2r8", "r16", "t8r2", "t4u2r2", "t4r4", "t2r8"),
    80: ("u8r2", "u4r4", "u2r8", "r16", "t8r2"),
    120: ("t4u2r2", "t8r2", "t4r4"),
}
BEST = ("u8r2", "u4r4")


def llama3_8b() -> Figures:
    return {f"{length}K {name}": llama3(length)[name] for length, names in RUN.items() for name in names}


def sequence_parallelism_wins() -> Figures:
    """The better of u8r2 and u4r4 over the best of all others."""
    return {
        f"{length}K": max(llama3(length)[name] for name in BEST)
        / max(rate for name, rate in llama3(length).items() if name not in BEST)
        for length in (64, 80)
    }


def mixed_over_ring() -> Figures:
    return {f"{length}K": llama3(length)["u4r4"] / llama3(length)["r16"] for length in (64, 80)}


def fitting() -> Figures:
    """Share of the layouts that ran, or did not, that are predicted to."""
    figures = {}
    for length, names in RUN.items():
        fits = {name: fit for name, (_, fit) in priced("llama3-8b", 16, length * 1024, 1).items()}
        figures[f"{length}K, ran"] = sum(fits[name] for name in names) / len(names)
        if length == 120:
            plain = [fit for name, fit in fits.items() if not name.startswith("t")]
            figures["120K without tp, ran out of memory"] = sum(not fit for fit in plain) / len(plain)
    return figures


def llama2_7b() -> Figures:
    cells = {f"64K {name}": llama2(64, 1)[name] for name in ("t4u2", "t4r2", "t8")}
    return cells | {f"30K {name}": llama2(30, 16)[name] for name in ("u8", "t4", "r8", "t8")}


def order_30k() -> Figures:
    """Each layout over the next slower one as published."""
    rates = llama2(30, 16)
    return {f"{a} over {b}": rates[a] / rates[b] for a, b in (("u8", "t4"), ("t4", "r8"), ("r8", "t8"))}


L20 = {
    "name": "l20",
    "architecture": "ada",
    "peak_flops": {"bf16": "119.5 TFLOP/s", "fp32": "59.8 TFLOP/s"},
    "memory": "48 GB",
    "memory_bandwidth": "864 GB/s",
}
L20_NODE = {
    "name": "8 x L20",
    "accelerator": L20,
    "nodes": 1,
    "devices_per_node": 8,
    "network": [{"name": "pcie", "kind": "pcie4", "size": 8}],
}


def layer_seconds(cluster: Model, seq_len: int) -> Mapping[int, float]:
    """Forward of one layer by Ulysses degree on eight devices; only attention and its traffic differ."""
    work = job("llama2-7b", cluster, 8, 1, seq_len)
    rows = from_layouts([legal(work, f"ulysses={u},ring={8 // u},recompute=none") for u in (8, 4, 2, 1)])
    steps = price_model(work, rows).rows(rows).get(work.model.layer_order[0], "forward_s", recomputed=False)
    return dict(zip((8, 4, 2, 1), steps.tolist(), strict=True))


def fabric_decides() -> Figures:
    """The layer with the best other degrees over that with all Ulysses (NVLink), or with a mixture (PCIe)."""
    nvlink, pcie = layer_seconds("a100-superpod", 32 * 1024), layer_seconds(L20_NODE, 128 * 1024)
    return {
        "NVLink 32K: u8": min(nvlink[u] for u in (4, 2, 1)) / nvlink[8],
        "PCIe 128K: u4r2 or u2r4": min(pcie[8], pcie[1]) / min(pcie[4], pcie[2]),
    }


def balance() -> Figures:
    """Forward of attention in contiguous order over that in paired chunks, 128K tokens on a ring of eight."""
    layout, seconds = Layout(ring=8), {}
    for order in ("contiguous", "zigzag"):
        work = job("llama2-7b", "a100-superpod", 8, 1, 128 * 1024, cp_balance=order)
        seconds[order] = float(attention(work, layout).forward_s[0])
    return {"A100": seconds["contiguous"] / seconds["zigzag"]}


STATEMENTS: dict[str, Compute] = {
    "llama3-8b-throughput": llama3_8b,
    "sequence-parallelism-wins": sequence_parallelism_wins,
    "mixed-over-ring": mixed_over_ring,
    "what-fits": fitting,
    "llama2-7b-throughput": llama2_7b,
    "llama2-7b-order": order_30k,
    "fabric-decides": fabric_decides,
    "balance": balance,
}
