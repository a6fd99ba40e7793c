"""Several plans side by side, differences explained by component."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.report.difference import (
    knob_difference,
    memory_difference,
    memory_words,
    signed_seconds,
    time_difference,
    time_parts,
    time_words,
)
from planner.report.plan import MEMORY_WORDS
from planner.report.tables import new_table
from planner.report.text import GIB, layout_words, percent, seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class Compared:
    """One plan of a comparison: its file, its job, its prediction."""

    file: str
    job: Job
    prediction: Prediction

    @property
    def name(self) -> str:
        return Path(self.file).stem


def comparison_json(plans: Sequence[Compared]) -> dict[str, Any]:
    """Predictions, and every later plan's differences from the first."""
    base = plans[0]
    return {
        "plans": [{"file": plan.file, "prediction": plan.prediction.to_json()} for plan in plans],
        "differences": [
            {
                "file": plan.file,
                "against": base.file,
                "knobs": knob_difference(base.prediction.layout, plan.prediction.layout),
                "job": job_differences(base.job, plan.job),
                "step_time_s": plan.prediction.step_time_s - base.prediction.step_time_s,
                "time_s": time_difference(base.prediction, plan.prediction),
                "memory_bytes": memory_difference(base.prediction, plan.prediction),
            }
            for plan in plans[1:]
        ],
    }


def job_differences(base: Job, other: Job) -> dict[str, tuple[Any, Any]]:
    """What differs between two jobs besides the layout."""
    pairs: dict[str, tuple[Any, Any]] = {
        "model": (base.model.name, other.model.name),
        "cluster": (base.cluster.name, other.cluster.name),
        "devices": (base.devices, other.devices),
        "framework": (base.framework.name, other.framework.name),
    }
    for name in ("global_batch", "seq_len", "precision", "optimizer", "attention", "compile", "capture"):
        pairs[name] = (getattr(base.training, name), getattr(other.training, name))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def print_comparison(console: Console, plans: Sequence[Compared], *, brief: bool) -> None:
    """Tables of time and memory by class, then the differences in words."""
    console.print(_table("Step time by class", plans, _time_rows(plans)))
    if not brief:
        console.print(_table("Memory by class, GiB", plans, _memory_rows(plans)))
    base = plans[0]
    for plan in plans[1:]:
        console.print()
        _print_difference(console, base, plan)


def _print_difference(console: Console, base: Compared, plan: Compared) -> None:
    before, after = base.prediction, plan.prediction
    change = after.step_time_s - before.step_time_s
    verdict = "as fast as" if change == 0 else "slower than" if change > 0 else "faster than"
    console.print(
        f"{plan.name} is {seconds(abs(change))} ({percent(abs(change) / before.step_time_s)}) {verdict} {base.name}",
        style="bold",
    )
    job = job_differences(base.job, plan.job)
    if job:
        changes = ", ".join(f"{name} {a} -> {b}" for name, (a, b) in job.items())
        console.print(f"  other job: {changes}")
        per_device = after.tokens_per_s_per_device / before.tokens_per_s_per_device - 1
        console.print(f"  tokens/s per device: {per_device:+.1%}")
    knobs = knob_difference(before.layout, after.layout)
    if knobs:
        console.print("  knobs: " + ", ".join(f"{name} {a} -> {b}" for name, (a, b) in knobs.items()))
    console.print(f"  time: {time_words(time_difference(before, after), before.step_time_s)}")
    console.print(f"  memory: {memory_words(memory_difference(before, after))}")


def _time_rows(plans: Sequence[Compared]) -> list[list[str]]:
    parts = [time_parts(plan.prediction.time) for plan in plans]
    rows = [["layout", *(layout_words(plan.prediction.layout) for plan in plans)]]
    rows.append(["step", *_against(plans, lambda plan: plan.prediction.step_time_s)])
    rows.append(["tokens/s/device", *(f"{plan.prediction.tokens_per_s_per_device:,.0f}" for plan in plans)])
    rows.append(["MFU", *(percent(plan.prediction.mfu) for plan in plans)])
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part.get(name, 0.0) for part in parts]
        if any(values):
            rows.append([name, *(seconds(value) for value in values)])
    return rows


def _against(plans: Sequence[Compared], value: Callable[[Compared], float]) -> list[str]:
    first = value(plans[0])
    rest = [f"{seconds(value(plan))} ({signed_seconds(value(plan) - first)})" for plan in plans[1:]]
    return [seconds(first), *rest]


def _memory_rows(plans: Sequence[Compared]) -> list[list[str]]:
    classes = [plan.prediction.memory.by_class for plan in plans]
    rows = []
    for name in dict.fromkeys(name for by_class in classes for name in by_class):
        values = [by_class.get(name, 0.0) for by_class in classes]
        if any(values):
            rows.append([MEMORY_WORDS.get(name, name), *(f"{value / GIB:,.2f}" for value in values)])
    used = [plan.prediction.memory.device_used_bytes for plan in plans]
    return [*rows, ["used on the device", *(f"{value / GIB:,.2f}" for value in used)]]


def _table(title: str, plans: Sequence[Compared], rows: Sequence[Sequence[str]]) -> Table:
    table = new_table(title)
    table.add_column("")
    for plan in plans:
        table.add_column(plan.name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
