"""One plan in detail: time, memory, communication, budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from planner.jobs.prediction import Prediction, TimeBreakdown
from planner.report.communication import communication_table
from planner.report.tables import new_table
from planner.report.text import GIB, gib, layout_words, percent, seconds, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LEFT = ("",)
"""Headings of columns that hold words."""

MEMORY_WORDS = {
    "parameters": "parameters",
    "gradients": "gradients",
    "optimizer": "optimizer state, master weights",
    "gathered_parameters": "gathered parameters",
    "activations": "activations kept for backward",
    "transient": "the layer at work",
    "logits": "logits and loss",
    "communication_buffers": "communication buffers",
    "optimizer_transient": "optimizer's temporaries",
}
AXIS_WORDS = {
    "tp": "tensor parallel",
    "cp": "context parallel",
    "ep": "expert all-to-all",
    "etp": "expert tensor parallel",
    "pp": "pipeline transfers",
    "dp": "data parallel",
    "edp": "expert data parallel",
    "offload": "offload to host or NVMe",
}


def time_rows(time: TimeBreakdown) -> list[tuple[str, float]]:
    """(label, seconds) of every class of the step; they add up to it."""
    rows = [("compute", time.compute_s), ("optimizer", time.optimizer_s)]
    rows += [(f"exposed {AXIS_WORDS[axis]}", value) for axis, value in time.exposed.items()]
    return [*rows, ("host (kernel launches)", time.host_s), ("pipeline bubble", time.bubble_s)]


def time_table(plan: Prediction) -> Table:
    """Where the step's time goes on the busiest pipeline rank."""
    table = new_table("Step time by class", ("", "time", "share"), left=LEFT)
    for label, value in time_rows(plan.time):
        if value:
            table.add_row(label, seconds(value), share(value, plan.step_time_s))
            if label == "compute":
                for name, part in plan.time.of_which.items():
                    if part:
                        word = {
                            "recompute_s": "recomputation",
                            "contention_s": "overlap slow-down",
                        }
                        table.add_row(f"  of which {word.get(name, name)}", seconds(part), "", style="dim")
    table.add_section()
    table.add_row("step", seconds(plan.step_time_s), "")
    return table


def memory_table(plan: Prediction) -> Table:
    """Bytes by class at the worst instant of the fullest device."""
    memory = plan.memory
    table = new_table(f"Memory at the peak ({memory.peak_at})", ("", "GiB", "share"), left=LEFT)
    for name, value in memory.by_class.items():
        if value:
            table.add_row(MEMORY_WORDS.get(name, name), _g(value), share(value, memory.peak_bytes))
    table.add_section()
    table.add_row("peak allocated", _g(memory.peak_bytes), "")
    table.add_row("+ allocator", _g(memory.reserved_bytes - memory.peak_bytes), "")
    table.add_row("+ context, communicators", _g(memory.device_used_bytes - memory.reserved_bytes), "")
    table.add_row("used on the device", _g(memory.device_used_bytes), "")
    table.add_row("left free as you asked", _g(memory.reserve_bytes), "")
    margin = memory.capacity_bytes - memory.device_used_bytes - memory.reserve_bytes
    table.add_row(
        "margin" if margin >= 0 else "MISSING", _g(abs(margin)), share(abs(margin), memory.capacity_bytes)
    )
    return table


def headline(plan: Prediction) -> str:
    """The plan in two lines."""
    lower, upper = plan.interval_s
    simulated = plan.simulated_step_time_s
    by_simulation = "" if simulated is None else f" simulated {seconds(simulated)},"
    lines = [
        f"{layout_words(plan.layout)}",
        f"step {seconds(plan.step_time_s)} (between {seconds(lower)} and {seconds(upper)}),{by_simulation}"
        f" {plan.tokens_per_s:,.0f} tokens/s, {plan.tokens_per_s_per_device:,.0f} per device,"
        f" MFU {percent(plan.mfu)}, HFU {percent(plan.hfu)} ({plan.flops_convention}),"
        f" {plan.model_tflops_per_device:,.0f} TFLOP/s per device",
        f"memory {gib(plan.memory.device_used_bytes)} of {gib(plan.memory.capacity_bytes)}"
        + ("" if plan.memory.fits else ": does NOT fit"),
    ]
    return "\n".join(lines)


def budget_line(budget: Mapping[str, float]) -> str:
    """Days, device-hours, cost and energy of the whole training, those that are known."""
    forms = {
        "days": "{:,.1f} days",
        "device_hours": "{:,.0f} device-hours",
        "cost": "cost {:,.0f}",
        "energy_kwh": "{:,.0f} kWh",
    }
    return ", ".join(form.format(budget[key]) for key, form in forms.items() if budget.get(key) is not None)


def ranks_table(plan: Prediction) -> Table:
    """One row per pipeline rank: its work, idle time and memory."""
    table = new_table(
        "Pipeline ranks",
        ("rank", "layers", "compute", "exposed", "bubble", "memory GiB", "peak at"),
        left=LEFT,
    )
    for rank in plan.ranks:
        table.add_row(
            str(rank.pipeline_rank),
            str(rank.layers),
            seconds(rank.time.compute_s),
            seconds(sum(rank.time.exposed.values())),
            seconds(rank.time.bubble_s),
            _g(rank.memory.device_used_bytes),
            rank.memory.peak_at,
        )
    return table


def print_plan(console: Console, plan: Prediction) -> None:
    """Everything about one plan."""
    from rich.columns import Columns

    console.print(headline(plan))
    if plan.budget:
        console.print(f"whole training: {budget_line(plan.budget)}")
    console.print()
    console.print(Columns([time_table(plan), memory_table(plan)], padding=(0, 3)))
    if plan.communication:
        console.print(communication_table(plan.communication, width=console.width))
    if len(plan.ranks) > 1:
        console.print(ranks_table(plan))
    for line in plan.evidence:
        console.print(f"evidence: {line}", style="dim")


def _g(value_bytes: float) -> str:
    return f"{value_bytes / GIB:,.2f}"
