"""Statements that need neither hardware nor calibration: ratios of schedules, blocks of a ring, utilisation from seconds."""

from __future__ import annotations

from planner.costs.evaluate import step_times
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from tests.statements.context_parallel import attention
from tests.statements.jobs import gpt, job, utilisation
from tests.statements.megascale import STRONG, model_175b, run
from tests.statements.statement import Compute, Figures

LONG = 2**20
"""Tokens at which kernels lose nothing to the length of their blocks."""


def contiguous_ring() -> Figures:
    """Percent that a causal ring in contiguous order reaches of one whose ranks do equal work, by degree."""
    found = {}
    for ring in (2, 4, 8, 16):
        seconds = {
            order: float(
                attention(
                    job("llama3-8b", "a100-superpod", ring, 1, LONG, cp_balance=order), layout
                ).forward_s[0]
            )
            for order in ("zigzag", "contiguous")
            if (layout := Layout(ring=ring))
        }
        found[f"c {ring}"] = 100 * seconds["zigzag"] / seconds["contiguous"]
    return found


def gpipe_scaling() -> Figures:
    """Throughput of four and eight cells over that of two, 32 micro-batches."""
    model, step = gpt(64, 8192, 64, vocab=64, norm="none"), {}
    for cells in (2, 4, 8):
        work = job(model, "a100-superpod", cells, 32)
        layout = Layout(pp=cells, schedule="gpipe", micro_batches=32)
        step[cells] = float(step_times(work, from_layouts([layout]))[0])
    return {f"{machine}, K {cells}": step[2] / step[cells] for machine in ("TPU", "P100") for cells in (4, 8)}


def utilisation_530b() -> Figures:
    """Percent of 312 TFLOP/s that the published seconds are, full attention square."""
    runs = {"280": (280, 37.83), "2240": (2240, 39.1)}
    return {
        name: utilisation(job("megatron-530b", "a100-superpod", devices, devices, precision="bf16"), seconds)
        for name, (devices, seconds) in runs.items()
    }


SECONDS = (40.0, 21.2, 15.2, 11.9, 29.02, 14.78, 12.24, 8.57)


def utilisation_megascale() -> Figures:
    """The same of MegaScale's Megatron-LM runs."""
    return {
        str(devices): utilisation(run(devices, batch, model_175b()), seconds)
        for (devices, batch), seconds in zip(STRONG.items(), SECONDS, strict=True)
    }


STATEMENTS: dict[str, Compute] = {
    "contiguous-ring": contiguous_ring,
    "gpipe-scaling": gpipe_scaling,
    "utilisation-530b": utilisation_530b,
    "utilisation-megascale": utilisation_megascale,
}
