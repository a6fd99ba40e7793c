"""Sequence parallelism and selective recompute in Megatron-LM on A100 (arXiv 2205.05198)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from planner.costs.pipeline import in_flight
from planner.costs.predict import predict
from planner.costs.prices import price_model
from planner.jobs.types import Job
from planner.layouts.layouts import from_layouts
from tests.statements.jobs import (
    MEGATRON_2021,
    gpt,
    job,
    legal,
    on_priors,
    scaled_matmuls,
    seconds,
    utilisation,
)
from tests.statements.statement import Compute, Figures

GIB = 2**30


class Case(NamedTuple):
    """One model of the paper with its layout."""

    layers: int
    hidden: int
    heads: int
    p: int
    v: int
    micro_batch: int
    batch: int

    def job(self, replicas: int = 1, norm: str = "layer", **model: Any) -> Job:
        spec = gpt(self.layers, self.hidden, self.heads, norm=norm, **model)
        return job(spec, "a100-superpod", 8 * self.p * replicas, self.batch * replicas, **MEGATRON_2021)

    def layout(self, mode: str, sp: bool) -> str:
        chunks = f"pp={self.p},vpp={self.v},micro_batch={self.micro_batch}"
        return f"tp=8,sp={str(sp).lower()},{chunks},recompute={mode}"


CASES = {
    "22B": Case(48, 6144, 64, 1, 1, 4, 4),
    "175B": Case(96, 12288, 96, 8, 3, 1, 64),
    "530B": Case(105, 20480, 128, 35, 3, 1, 280),
    "1T": Case(128, 25600, 160, 64, 1, 1, 512),
}


def saved_gib(case: Case, mode: str, sp: bool) -> float:
    """What the first pipeline rank's layers keep for backward, micro-batches in flight."""
    work = case.job()
    row = from_layouts([legal(work, case.layout(mode, sp))])
    saved = price_model(work, row).rows(row).get(work.model.layer_order[0], "saved", recomputed=True)[0]
    c = row.columns
    flight = in_flight(c["schedule"], c["pp"], c["vpp"], c["micro_batches"], 0)[0]
    return float(saved * case.layers / case.p * flight / GIB)


def activations(mode: str, sp: bool) -> Compute:
    return lambda: {name: saved_gib(case, mode, sp) for name, case in CASES.items()}


def relative_activations() -> Figures:
    """Percent of what tensor parallelism alone keeps."""
    ways = {
        "SP": ("none", True),
        "selective": ("selective", False),
        "both": ("selective", True),
        "full": ("full", False),
    }
    return {
        f"{name}, {way}": 100 * saved_gib(case, *setting) / saved_gib(case, "none", False)
        for name, case in CASES.items()
        for way, setting in ways.items()
    }


def states() -> Figures:
    """Weights, fp32 gradients and optimizer of 12 L h^2 / (t p) parameters: bf16, ranks without ends."""
    figures: dict[str, float] = {}
    for name, case in CASES.items():
        work = case.job(norm="none", biases="none", positions="none", tied_embeddings=False)
        work = dataclasses.replace(work, training=dataclasses.replace(work.training, precision="bf16"))
        plan = predict(work, legal(work, case.layout("selective", True)))
        per_parameter = 18.0 if case.p == 1 else 0.0
        rank = plan.ranks[len(plan.ranks) // 2].memory.by_class
        total = rank["parameters"] + rank["gradients"] + rank["optimizer"]
        ends = sum(
            p.count
            for b in work.model.blocks.values()
            if b.name not in work.model.layer_order
            for p in b.parameters.values()
        )
        figures[name] = (total - per_parameter * ends / 8) / GIB
    return figures


MODES = {"full": ("full", False), "selective": ("selective", True)}


@cache
def steps() -> Mapping[tuple[str, str], float]:
    return {
        (name, mode): seconds(case.job(), case.layout(*setting))
        for name, case in CASES.items()
        for mode, setting in MODES.items()
    }


def step_times() -> Figures:
    return {f"{name}, {mode}": step for (name, mode), step in steps().items()}


def speedups() -> Figures:
    """Percent that selective recompute with sequence parallelism is faster than full recompute."""
    return {name: 100 * (steps()[name, "full"] / steps()[name, "selective"] - 1) for name in CASES}


def one_efficiency() -> Figures:
    """Step times on priors, with one factor on the matmuls' plateau that makes the first row right."""
    first = CASES["22B"]
    factor = scaled_matmuls(on_priors(first.job()), first.layout("full", False), 1.42)
    return {
        f"{name}, {mode}": seconds(factor(on_priors(case.job())), case.layout(*setting))
        for name, case in CASES.items()
        for mode, setting in MODES.items()
    }


def data_parallel_530b() -> Figures:
    """Model FLOPs utilisation of eight replicas."""
    case = CASES["530B"]
    work = case.job(replicas=8)
    return {mode: utilisation(work, seconds(work, case.layout(*setting))) for mode, setting in MODES.items()}


STATEMENTS: dict[str, Compute] = {
    "activations-tensor-parallel": activations("none", False),
    "activations-sequence-parallel-selective": activations("selective", True),
    "activations-relative": relative_activations,
    "states": states,
    "step-times": step_times,
    "speedups": speedups,
    "one-efficiency": one_efficiency,
    "eight-replicas-530b": data_parallel_530b,
}
