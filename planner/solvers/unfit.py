"""Why a search has no answer: the leanest layout, by how much it misses, and what would help."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.costs.evaluate import memory_totals
from planner.costs.prices import Prices, price_model
from planner.errors import NoAnswerError
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts
from planner.layouts.space.space import Space, search_space
from planner.solvers.memory_bound import memory_lower_bound

GIB = float(2**30)
_WORDS = ("tp", "cp", "pp", "vpp", "ep", "dp", "zero_stage", "micro_batch", "recompute")


@dataclass(frozen=True)
class Leanest:
    """The layout that uses least device memory, whether it fits or not."""

    layout: Layout
    used_bytes: float
    host_short: bool


def leanest(job: Job, space: Space) -> Leanest | None:
    """The layout of a space with the least device memory; families of layouts whose bound is above it are not made."""
    best: Leanest | None = None
    space, _ = space.opened()
    if not space.size:
        return None
    prices = price_model(job, space.outer)
    bound = memory_lower_bound(job, space, prices)
    left = np.argsort(bound, kind="stable")
    while len(left):
        group, layouts, _ = next(space.blocks(left))
        found = _leanest_of(job, layouts, prices)
        if best is None or found.used_bytes < best.used_bytes:
            best = found
        left = left[len(group) :]
        left = left[bound[left] < best.used_bytes]
    return best


def _leanest_of(job: Job, layouts: Layouts, prices: Prices) -> Leanest:
    memory = memory_totals(job, layouts, prices)
    row = int(np.argmin(memory.device_used_bytes))
    used, capacity = float(memory.device_used_bytes[row]), job.cluster.accelerator.memory_bytes
    fits_device = used + job.search.memory_reserve * capacity <= capacity
    return Leanest(layouts.row(row), used, fits_device and not bool(memory.fits[row]))


def explain_unfit(job: Job, space: Space, *, finished: bool = True) -> NoAnswerError:
    """The error for a space in which nothing fits (or nothing was found to fit in the time given)."""
    if not finished:
        return NoAnswerError("no layout was found to fit within the time limit; give it more time")
    best = leanest(job, space)
    if best is None:
        return explain_empty(job)
    capacity = job.cluster.accelerator.memory_bytes
    usable = capacity * (1.0 - job.search.memory_reserve)
    text = (
        f"none of {space.size:,} legal layouts fits: the leanest ({_words(best.layout)}) needs "
        f"{best.used_bytes / GIB:,.1f} GiB of the {usable / GIB:,.1f} GiB that may be used per device"
    )
    if best.host_short:
        text += ", and what it offloads exceeds the host's memory"
    else:
        text += f", {(best.used_bytes - usable) / GIB:,.1f} GiB too many"
    return NoAnswerError(f"{text}; what would help: {'; '.join(_help(job, best, usable))}")


def explain_empty(job: Job) -> NoAnswerError:
    """The error for a space without a legal layout."""
    found = f"no legal layout of {job.model.name} uses {job.devices:,} devices with global batch {job.training.global_batch:,}"
    if job.search.fix or job.search.limit or job.search.allow:
        free = search_space(_without_limits(job)).size
        found += f"; without search.fix, limit and allow there are {free:,}"
    if not job.search.allow.get("idle_devices"):
        found += "; allow: {idle_devices: true} admits layouts on fewer devices"
    return NoAnswerError(found, field="search")


def _help(job: Job, best: Leanest, usable: float) -> list[str]:
    hints = []
    if job.search.fix or job.search.limit or job.search.allow:
        free = leanest(job_free := _without_limits(job), search_space(job_free))
        if free is not None and free.used_bytes < best.used_bytes:
            verdict = "fits" if free.used_bytes <= usable else "does not fit either"
            hints.append(
                f"without search.fix, limit and allow the leanest needs {free.used_bytes / GIB:,.1f} GiB and {verdict}"
            )
    if best.used_bytes <= job.cluster.accelerator.memory_bytes:
        hints.append("a smaller memory_reserve")
    if job.cluster.host.memory_bytes is None:
        hints.append("a cluster whose host memory is known, to offload to")
    elif "offload" not in job.framework.features:
        hints.append(f"a framework that offloads ({job.framework.name} does not)")
    if max(job.framework.zero_stages) < 3:
        hints.append(f"a framework that shards parameters ({job.framework.name} does not)")
    hints.append("more devices, or devices with more memory")
    return hints


def _without_limits(job: Job) -> Job:
    return replace(job, search=replace(job.search, fix={}, limit={}, allow={}))


def _words(layout: Layout) -> str:
    knobs = layout_to_knobs(layout)
    words = [f"{name}={knobs[name]}" for name in _WORDS if knobs.get(name, 1) not in (1, "none")]
    if layout.zero_stage is None:
        words.append(f"shard={layout.shard.optimizer}")
    moved = [state for state in ("optimizer", "activations") if getattr(layout.offload, state)[0] != "hbm"]
    return " ".join((*words, *(f"{state} offloaded" for state in moved))) or "one device"
