"""MoE parallel folding in Megatron-Core on H100 (arXiv 2504.14960)."""

from __future__ import annotations

from functools import cache
from itertools import product

from planner.costs.convention import model_flops
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from tests.statements.jobs import best, evaluated, job, seconds
from tests.statements.statement import Compute, Figures

# tokens beyond capacity factor 1 are dropped in the runs
MOE = {"capacity_factor": 1.0}
TABLE_3 = {
    "mixtral-8x22b, unfolded": ("mixtral-8x22b", "tp=2,pp=8,ep=4,etp=2"),
    "mixtral-8x22b, folded": ("mixtral-8x22b", "tp=2,pp=8,ep=8,etp=1"),
}


def mixture(model: str, devices: int, batch: int, **search: object) -> Job:
    return job(model, "h100-superpod", devices, batch, 4096, moe=MOE, search=search or None)


def utilisation(work: Job, step: float) -> float:
    """Percent of 989 TFLOP/s, causal attention."""
    return 100 * model_flops(work, "causal_half") / (work.devices * 989e12 * step)


def table_3() -> Figures:
    figures: dict[str, float] = {}
    for name, (model, layout) in TABLE_3.items():
        work = mixture(model, 128, 256)
        figures[name] = utilisation(
            work, seconds(work, f"{layout},vpp=7,micro_batch=1,zero_stage=1,recompute=none")
        )
    return figures


def folding_gain() -> Figures:
    values = table_3()
    return {"mixtral-8x22b": values["mixtral-8x22b, folded"] / values["mixtral-8x22b, unfolded"]}


def strong_scaling() -> Figures:
    """Utilisation of folded and unfolded layouts with 1,024 sequences."""
    figures: dict[str, float] = {}
    for (name, (model, layout)), devices in product(TABLE_3.items(), (128, 256, 512, 1024)):
        work = mixture(model, devices, 1024)
        step = seconds(work, f"{layout},vpp=7,micro_batch=1,zero_stage=1,recompute=none")
        figures[f"{name}, {devices}"] = utilisation(work, step)
    return figures


@cache
def searched() -> tuple[tuple[float, Layout], tuple[float, Layout]]:
    """Utilisation and layout of the best that folds the expert mesh freely, and of the best with etp = tp."""
    options = {"zero_stage": 1, "recompute": "none", "schedule": "interleaved_1f1b", "sp": True, "cp": 1}
    best_of = {False: (0.0, Layout()), True: (0.0, Layout())}
    for t, free in product((2, 4, 8), (False, True)):
        fixed = {"tp": t} | options | ({} if free else {"etp": t})
        work = mixture("mixtral-8x22b", 128, 256, fix=fixed, limit={"micro_batch": 2})
        layout = best(work)
        rate = utilisation(work, float(evaluated(work, [layout]).step_time_s[0]))
        best_of[free] = max(best_of[free], (rate, layout), key=lambda item: item[0])
    return best_of[True], best_of[False]


def search_folds() -> Figures:
    """Utilisation of the best folded layout over the best unfolded one."""
    (free, _), (unfolded, _) = searched()
    return {"folded over unfolded": free / unfolded}


def search_etp() -> Figures:
    return {"etp": searched()[0][1].etp}


def search_reaches() -> Figures:
    """The best layout over the published one, by our own prediction."""
    return {"best over published": searched()[0][0] / table_3()["mixtral-8x22b, folded"]}


STATEMENTS: dict[str, Compute] = {
    "table-3-utilisation": table_3,
    "folding-gain": folding_gain,
    "strong-scaling": strong_scaling,
    "search-folds": search_folds,
    "search-etp": search_etp,
    "search-reaches-published": search_reaches,
}
