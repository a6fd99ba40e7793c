"""Ring attention alone, and context parallelism in Megatron-LM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product

from planner.costs.operators import OperatorCost, operator_cost
from planner.costs.sizes import Sizes
from planner.hardware.calibration import kernels_alone
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.sharding import Pattern, derive
from tests.statements.jobs import best, gpt, job, on_priors, seconds
from tests.statements.statement import Compute, Figures

MACHINES = {"A100": "a100-superpod", "H800": "h800-cluster"}
RANKS, TOKENS = 8, 8192
PLAIN = (
    "fsdp"  # of the profiles the one that runs FlashAttention 2 everywhere and PyTorch's operators one by one
)


def attention(work: Job, layout: Layout) -> OperatorCost:
    """The attention core of one layer."""
    block = work.model.blocks[work.model.layer_order[0]]
    core = next(operator for operator in block.operators if operator.kind == "attention")
    rules = derive(block, Pattern(ring=layout.ring > 1, ulysses=layout.ulysses > 1))
    return operator_cost(core, block, rules, Sizes(from_layouts([layout]), work, block))


def kernel_loop(work: Job) -> Job:
    """The job at the calibrated rates of kernels that run alone, one after the other."""
    accelerator = kernels_alone(work.cluster.accelerator)
    return replace(work, cluster=replace(work.cluster, accelerator=accelerator))


def efficiency(cluster: str, balance: str, backward: bool, priors: bool) -> float:
    """Percent of one device's own attention over 8K tokens that a ring of eight over 64K reaches, transfers hidden."""
    alone = job("llama3-8b", cluster, RANKS, RANKS, TOKENS, framework=PLAIN)
    ring = job("llama3-8b", cluster, RANKS, 1, RANKS * TOKENS, cp_balance=balance, framework=PLAIN)
    one, part = (
        attention(on_priors(work) if priors else kernel_loop(work), layout)
        for work, layout in ((alone, Layout(dp=RANKS)), (ring, Layout(ring=RANKS)))
    )
    ideal, taken = one.forward_s[0], part.forward_s[0]
    if backward:
        ideal, taken = ideal + one.input_gradient_s[0], taken + part.input_gradient_s[0]
    return float(100 * RANKS * ideal / taken)


def ring_efficiencies(balance: str, priors: bool, passes: tuple[bool, ...] = (False, True)) -> Compute:
    return lambda: {
        f"{machine}, {'forward and backward' if backward else 'forward'}": efficiency(
            cluster, balance, backward, priors
        )
        for (machine, cluster), backward in product(MACHINES.items(), passes)
    }


DEVICES, BATCH = 512, 256
GPT_175B = gpt(96, 12288, 96, positions="rope", tied_embeddings=False)


@cache
def speedups() -> Mapping[str, float]:
    """Step time with tp 8 and full recompute over that of wider groups that recompute nothing; eight stages."""
    found = {}
    for seq_len, degrees in ((16384, ((16, 1), (8, 2))), (32768, ((32, 1), (16, 2), (8, 4)))):
        work = job(GPT_175B, "h100-superpod", DEVICES, BATCH, seq_len)
        layout = "tp={},cp={},pp=8,micro_batch=1,recompute={}"
        reference = seconds(work, layout.format(8, 1, "full"))
        for t, c in degrees:
            found[f"{seq_len // 1024}K TP{t}CP{c}"] = reference / seconds(work, layout.format(t, c, "none"))
    return found


def order() -> Figures:
    """Each context-parallel layout over the one with a wider tensor group at the same length."""
    pairs = (("16K TP8CP2", "16K TP16CP1"), ("32K TP16CP2", "32K TP32CP1"), ("32K TP8CP4", "32K TP16CP2"))
    return {f"{fast} over {slow}": speedups()[fast] / speedups()[slow] for fast, slow in pairs}


def search_at_32k() -> Figures:
    """Degrees that the search prefers among 32 ranks that share a sequence."""
    fixed = {
        "pp": 8,
        "vpp": 1,
        "micro_batch": 1,
        "recompute": "none",
        "sp": True,
        "ulysses": 1,
        "zero_stage": 1,
    }
    options = {"fix": fixed, "allow": {"tp": [8, 32], "ring": [1, 4], "dp": [2]}, "memory_reserve": 0}
    work = job(GPT_175B, "h100-superpod", DEVICES, BATCH, 32768, search=options)
    layout = best(work)
    return {"tp": layout.tp, "cp": layout.cp}


STATEMENTS: dict[str, Compute] = {
    "contiguous-ring-priors": ring_efficiencies("contiguous", True),
    "zigzag-ring-priors": ring_efficiencies("zigzag", True, (True,)),
    "zigzag-ring-forward": ring_efficiencies("zigzag", True, (False,)),
    "zigzag-ring-calibrated": ring_efficiencies("zigzag", False),
    "megatron-cp-speedups": speedups,
    "megatron-cp-order": order,
    "search-175b-32k": search_at_32k,
}
