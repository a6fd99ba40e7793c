"""A search over groups as tables: what to do, stage by stage, and what other ways would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.tables import new_table
from planner.report.text import GIB, gib, layout_words, percent, seconds
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.plan import MixedPlan
from planner.solvers.mixed.result import Comparison, MixedResult
from planner.units import format_count, format_rate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

KINDS = {
    "pipeline": "one pipeline over",
    "replicas": "replicas on",
    "alone": "only",
}
WORST_WAITS = 0.05
"""Share of the step in which a stage waits from which its bubble is worth a look."""


def print_mixed(console: Console, mixed: MixedJob, result: MixedResult, *, brief: bool) -> None:
    """Print a search over groups.

    Args:
        brief: only the verdict and the ranking.
    """
    console.print(job_lines(mixed), "", sep="\n")
    best = result.plans[0]
    if not brief:
        console.print("The best plan", style="bold")
        console.print(segments_table(best))
        console.print(stages_table(best))
        if best.simulated_step_s is not None:
            console.print(played_line(best, best.simulated_step_s), "", sep="\n")
        console.print(*space_lines(result), sep="\n")
    console.print(verdict(result), certificate_words(result), style="bold", sep="\n")
    console.print()
    console.print(ranking_table(result))


def job_lines(mixed: MixedJob) -> str:
    """Model, batch, and one line per group and link."""
    job = mixed.jobs[0]
    training, model = job.training, job.model
    lines = [
        f"{model.name} ({format_count(model.parameter_count)} parameters) on {mixed.devices} devices of"
        f" {len(mixed.groups)} groups ({mixed.cluster.name})"
    ]
    for group in mixed.groups:
        accelerator = group.accelerator
        lines.append(
            f"  {group.name}: {group.devices} × {accelerator.name} ({group.nodes} × {group.devices_per_node},"
            f" {gib(accelerator.memory_bytes)},"
            f" {format_rate(accelerator.peak_flops[training.precision], 'FLOP/s')} {training.precision})"
        )
    for link in mixed.cluster.between:
        one, other = (mixed.groups[place].name for place in link.groups)
        origin = "" if link.stated else ", assumed: the slower of their own networks"
        lines.append(
            f"  {one} - {other}: {format_rate(link.level.bandwidth, 'B/s')} per device and direction,"
            f" {seconds(link.level.latency_s)}{origin}"
        )
    lines.append(
        f"{training.global_batch} sequences of {training.seq_len} tokens per step"
        f" ({format_count(training.tokens_per_step)} tokens), {training.optimizer}, {job.framework.name}"
    )
    return "\n".join(lines)


def segments_table(plan: MixedPlan) -> Table:
    """What each group does."""
    table = new_table(
        None,
        ("group", "devices", "layout of the group", "stages", "layers", "sequences", "step"),
        left=("group", "layout of the group"),
    )
    for segment in plan.segments:
        knobs = {name: value for name, value in segment.layout.items() if name != "layers_per_stage"}
        table.add_row(
            segment.group,
            str(segment.devices),
            layout_words(knobs),
            str(len(segment.stages)),
            str(segment.layers),
            str(segment.sequences),
            seconds(segment.step_s),
        )
    if plan.kind == "replicas":
        table.add_row("", "", "sum of gradients over the groups", "", "", "", seconds(plan.sum_s))
    return table


def stages_table(plan: MixedPlan) -> Table:
    """Time and memory of every stage; stages that wait a lot stand out."""
    table = new_table(None, ("stage",))
    for heading in ("group", "layers", "recompute", "compute", "exposed", "bubble", "device memory"):
        words = heading in ("group", "recompute")
        table.add_column(heading, justify="left" if words else "right", no_wrap=True)
    for segment in plan.segments:
        for stage in segment.stages:
            time, memory = stage.time, stage.memory
            waits = time.bubble_s / time.total_s if time.total_s else 0.0
            table.add_row(
                str(stage.stage),
                segment.group,
                str(stage.layers),
                stage.recompute,
                seconds(time.compute_s + time.host_s + time.optimizer_s),
                seconds(sum(time.exposed.values())),
                percent(waits),
                f"{memory.device_used_bytes / GIB:,.1f} of {gib(memory.capacity_bytes)}",
                style="" if waits < WORST_WAITS else "yellow",
            )
        table.add_section()
    return table


def played_line(plan: MixedPlan, simulated_s: float) -> str:
    """What the event engine says of the closed form."""
    change = 100.0 * (simulated_s / plan.step_s - 1.0)
    return f"Passes and hops played in the order of 1F1B: {seconds(simulated_s)} per step ({change:+.1f} %)."


def ranking_table(result: MixedResult) -> Table:
    """Every way to use the groups, and what planners without groups would do."""
    table = new_table("Ways to use the groups", left=("way",))
    table.add_column("way", overflow="fold", ratio=1)
    for heading in ("devices", "step", "tokens/s", "MFU", "than the best"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = result.plans[0].value
    for plan in result.plans:
        table.add_row(*_plan_row(way_words(plan), plan, best))
    table.add_section()
    for item in result.comparisons:
        if item.plan is None or not item.same_space:
            table.add_row(*_comparison_row(item, best), style="dim")
    return table


def way_words(plan: MixedPlan) -> str:
    """How a plan uses the groups."""
    if plan.kind == "pipeline":
        parts = [f"{segment.group} ({_counted(segment.layers, 'layer')})" for segment in plan.segments]
        return f"{KINDS[plan.kind]} {' → '.join(parts)}"
    if plan.kind == "replicas":
        parts = [f"{segment.group} ({_counted(segment.sequences, 'sequence')})" for segment in plan.segments]
        return f"{KINDS[plan.kind]} {' and '.join(parts)}"
    return f"{KINDS[plan.kind]} {plan.groups[0]}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _plan_row(words: str, plan: MixedPlan, best: float) -> tuple[str, ...]:
    return (
        words,
        str(plan.devices),
        seconds(plan.step_s),
        format_count(plan.tokens_per_s),
        percent(plan.mfu),
        _slower(plan.value, best),
    )


def _comparison_row(item: Comparison, best: float) -> tuple[str, ...]:
    if item.plan is not None:
        return _plan_row(item.what, item.plan, best)
    if item.step_s is None or item.value is None:
        reason = (item.why_not or "").partition("; ")[0]
        return (f"{item.what}: {reason}", "", "-", "", "", "")
    return (item.what, "", seconds(item.step_s), "", "", _slower(item.value, best))


def _slower(value: float, best: float) -> str:
    return "" if value == best else f"{100.0 * (value / best - 1.0):+.1f} %"


def verdict(result: MixedResult) -> str:
    """What to do, and by how much it is better."""
    best = result.plans[0]
    gain = result.gain
    take = f"{'take' if best.kind == 'replicas' else 'takes'} {seconds(best.step_s)} per step"
    if result.idle:
        names = " and ".join(result.idle)
        than = "" if gain is None else f", {percent(gain)} less than the best plan that uses all groups"
        return f"Leave {names} idle: {way_words(best)} {take}{than}."
    than = "" if gain is None else f", {percent(gain)} less than the best single group"
    return f"Use all groups: {way_words(best)} {take}{than}."


def certificate_words(result: MixedResult) -> str:
    """What is proved."""
    found = result.certificate
    if found["proved"]:
        return "Proved: nothing in the space is better by the closed form (gap 0)."
    return f"Not proved: nothing in the space is better by more than {percent(found['gap'])} (closed form)."


def space_lines(result: MixedResult) -> list[str]:
    """What was searched."""
    space = result.space
    pipelines, replicas = space["pipelines"], space["replicas"]
    ways = ", ".join(f"{count:,} of {name}" for name, count in space["ways"].items())
    return [
        f"Pipelines: {pipelines['candidates']:,} combinations of the groups' layouts ({ways}) and orders, each with every cut"
        f" of the layers; {pipelines['cut']:,} cut, {pipelines['pruned']['bound']:,} ruled out by bound,"
        f" {pipelines['pruned']['memory']:,} do not fit.",
        f"Replicas: every share in units of {_counted(replicas['share_unit'], 'sequence')};"
        f" {replicas['shares_priced']:,} priced"
        f" ({replicas['candidates']:,} layouts), the others ruled out by bound. {space['seconds']:.1f} s.",
        "",
    ]
