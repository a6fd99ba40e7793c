"""The ranking of a search, its space and certificate, and the Pareto set, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.report.refinement import moved_words
from planner.report.tables import NARROW, new_table
from planner.report.text import GIB, gib, layout_words, percent, seconds, share
from planner.solvers.pareto import DEFAULT_AXES
from planner.solvers.result import cost_per_million_tokens
from planner.units import format_bytes, format_count, format_rate

if TYPE_CHECKING:
    from rich.table import Table

PRUNED_BECAUSE = {
    "memory": "does not fit in memory",
    "bound": "cannot beat the best found (bound)",
    "time_limit": "not visited within the time limit (the Pareto set may lack some)",
}


def job_line(job: Job) -> str:
    """Model, batch and cluster in one line."""
    training, cluster = job.training, job.cluster
    accelerator = cluster.accelerator
    return (
        f"{job.model.name} ({format_count(job.model.parameter_count)} parameters) on {cluster.devices} × {accelerator.name}"
        f" ({cluster.name}: {cluster.nodes} × {cluster.devices_per_node},"
        f" {format_bytes(accelerator.memory_bytes, binary=True)},"
        f" {format_rate(accelerator.peak_flops[training.precision], 'FLOP/s')} {training.precision})\n"
        f"{training.global_batch} sequences of {training.seq_len} tokens per step"
        f" ({format_count(training.tokens_per_step)} tokens), {training.optimizer}, {job.framework.name}"
    )


def ranking_table(
    plans: Sequence[Prediction],
    title: str | None = None,
    *,
    width: int = 120,
    closed_form_ranks: Sequence[int] | None = None,
    price: float | None = None,
) -> Table:
    """One row per plan: layout, speed, utilisation, memory, what is lost and where.

    Args:
        width: columns of the terminal.
        closed_form_ranks: of each plan before simulation ranked them anew; None for a ranking by the closed form.
        price: per device and hour; a column then says what a million tokens cost.
    """
    table = new_table(title)
    table.add_column("#", justify="right")
    table.add_column("layout", overflow="fold", ratio=1)
    rows = [_ranking_row(plan, price) for plan in plans]
    if closed_form_ranks is not None:
        rows = [_refined_row(*found) for found in zip(plans, closed_form_ranks, rows, strict=True)]
    headings = [
        name for name in rows[0] if width >= NARROW or name not in ("tokens/s/dev", "exposed", "bubble")
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for position, (plan, row) in enumerate(zip(plans, rows, strict=True), 1):
        place = str(plan.rank if plan.rank is not None else position)
        cells = [row[name] for name in headings]
        table.add_row(place, layout_words(plan.layout), *cells, style="bold" if position == 1 else None)
    return table


def _ranking_row(plan: Prediction, price: float | None) -> dict[str, str]:
    memory = plan.memory
    limit = memory.capacity_bytes - memory.reserve_bytes
    over = "" if memory.fits else " OVER"
    return {
        "step": seconds(plan.step_time_s),
        "tokens/s/dev": f"{plan.tokens_per_s_per_device:,.0f}",
        **({} if price is None else {"cost/M tokens": money(cost_per_million_tokens(price, plan))}),
        "MFU": percent(plan.mfu),
        "memory/limit GiB": f"{memory.device_used_bytes / GIB:.1f} / {limit / GIB:.1f}{over}",
        "exposed": share(sum(plan.time.exposed.values()), plan.step_time_s),
        "bubble": share(plan.time.bubble_s, plan.step_time_s),
    }


def _refined_row(plan: Prediction, closed_form_rank: int, row: Mapping[str, str]) -> dict[str, str]:
    simulated = plan.simulated_step_time_s
    cells = {name: value for name, value in row.items() if name != "step"}
    if simulated is None:
        return {"simulated": "-", "moved": "-", "closed form": row["step"], **cells}
    moved = moved_words(closed_form_rank, plan.rank)
    return {"simulated": seconds(simulated), "moved": moved, "closed form": row["step"], **cells}


def space_lines(space: Mapping[str, Any]) -> list[str]:
    """How many layouts there were and why the others were dropped."""
    lines = [
        f"{space['candidates']:,} legal layouts, {space['evaluated']:,} evaluated in {seconds(space['seconds'])}"
    ]
    for reason, count in space.get("pruned", {}).items():
        if count:
            lines.append(f"  {count:>12,}  {PRUNED_BECAUSE.get(reason, reason)}")
    return lines


def certificate_line(certificate: Mapping[str, Any]) -> str:
    """What is proved about the first plan of the closed form."""
    best, bound, gap = certificate.get("best_s"), certificate.get("lower_bound_s"), certificate.get("gap")
    model = {"closed_form": "closed-form model", "simulation": "simulation"}.get(
        certificate.get("exact_for", ""), str(certificate.get("exact_for"))
    )
    whose = "the closed form's first plan: " if "simulation" in certificate else ""
    if best is None or bound is None or gap is None:
        return f"{whose}not proved"
    if gap <= 0:
        ties = certificate.get("ties", 1)
        tied = (
            f"; the first {ties} plans are equally good"
            if ties > 1 and not whose and "pessimistic" not in certificate
            else ""
        )
        return f"{whose}proved optimal for the {model} over this space{tied}"
    return f"{whose}within {percent(gap)} of the optimum of the {model} (lower bound {seconds(bound)}); not proved further"


def pareto_table(points: Iterable[Mapping[str, Any]], axes: Sequence[str], limit: int = 8) -> Table:
    """Plans that no other one equals or beats in all of the axes, in the order that the search gave."""
    rows = list(points)
    title = f"Pareto set of {words_of(axes)}"
    if len(rows) > limit:
        title += f" (first {limit} of {len(rows)})"
    table = new_table(title)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("devices", justify="right", no_wrap=True)
    priced = any(point.get("cost_per_million_tokens") is not None for point in rows)
    if priced:
        table.add_column("cost/M tokens", justify="right", no_wrap=True)
    table.add_column("layout", overflow="fold", ratio=1)
    for point in rows[:limit]:
        cells = [seconds(point["step_time_s"]), gib(memory_of(point)), str(point.get("devices", "-"))]
        if priced:
            cells.append(money(point["cost_per_million_tokens"]))
        table.add_row(*cells, layout_words(point["layout"]))
    return table


def same_devices_note(job: Job, points: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[str]:
    """Why devices or cost add nothing to a set whose layouts all use the same devices."""
    counts = {point["devices"] for point in points}
    asked = [axis for axis in ("cost", "devices") if axis in axes and tuple(axes) != DEFAULT_AXES]
    if not asked or len(counts) > 1 or job.search.allow.get("idle_devices"):
        return []
    return [
        f"All layouts use {counts.pop():,} devices; search.allow: {{idle_devices: true}} also tries fewer of them."
    ]


def money(amount: float) -> str:
    """Three digits."""
    return f"{amount:#.3g}".rstrip(".")


def words_of(axes: Sequence[str]) -> str:
    """``step time, memory and devices``."""
    words = [axis.replace("_", " ") for axis in axes]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def memory_of(point: Mapping[str, Any]) -> float:
    """Device bytes of a Pareto point."""
    for key in ("device_used_bytes", "memory_bytes", "peak_bytes"):
        if key in point:
            return float(point[key])
    raise KeyError("a Pareto point names no memory")
