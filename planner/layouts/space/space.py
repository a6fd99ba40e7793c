"""The search space of a job: outer mesh tuples and the inner knobs that multiply them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import COLUMNS, IntArray, Layouts
from planner.layouts.legality import RULES
from planner.layouts.rules.facts import Facts, gather_facts
from planner.layouts.space import choices as choose
from planner.layouts.space.choices import MESH_COLUMNS, Objects
from planner.layouts.space.factor import Factor, assign_rules, choice_table, grow
from planner.layouts.space.options import Options, read_options

BLOCK_ROWS = 1 << 17
_OUTER_FACTORS = 3
"""Factors that grow outer rows; the experts' mesh is the next one."""

_ONES = ("tp", "ulysses", "ring", "pp", "vpp", "ep", "etp", "dp", "micro_batch", "micro_batches", "slices")
_SHARDS = ("shard_parameters", "shard_gradients", "shard_optimizer", "shard_secondary")


@dataclass(frozen=True)
class Space:
    """All legal layouts of a job within its search options, grouped under outer mesh tuples.

    Args:
        outer: one row per legal mesh, batch split and pipeline (tp, sp, ulysses, ring, pp, dp, micro_batch, vpp, schedule);
            the inner knobs (ep, etp, shard, recompute, offload) hold neutral values: experts on no mesh, nothing sharded,
            recomputed or offloaded. Models without experts, and a space that is ``opened``, have ep and etp outside.
        inner: factors that grow an outer row into its layouts, in order.
        facts: of the job.
        objects: what index columns point to.
        candidates: legal layouts under each outer row, shape (len(outer),).
    """

    outer: Layouts
    inner: tuple[Factor, ...]
    facts: Facts
    objects: Objects
    candidates: IntArray

    @property
    def size(self) -> int:
        """Legal layouts in all, before any pruning."""
        return int(self.candidates.sum())

    @property
    def closed(self) -> bool:
        """Whether the experts' mesh is among the inner knobs."""
        return bool(self.inner) and "ep" in self.inner[0].fills

    def take(self, rows: IntArray) -> Space:
        """The space under some outer rows."""
        return replace(self, outer=self.outer.take(rows), candidates=self.candidates[rows])

    def opened(self, rows: IntArray | None = None) -> tuple[Space, IntArray]:
        """The space under some outer rows (default: all) with the experts' mesh outside.

        Returns:
            (space, owner): and for each of its outer rows the row of this space that it came from.
        """
        chosen = np.arange(len(self.outer)) if rows is None else rows
        if not self.closed:
            return self.take(chosen), chosen
        outer, parent = grow(self.outer.take(chosen), self.inner[0], self.facts)
        space, kept = _counted(outer, self.inner[1:], self.facts, self.objects)
        return space, chosen[parent[kept]]

    def blocks(
        self, rows: IntArray | None = None, *, block_rows: int = BLOCK_ROWS
    ) -> Iterator[tuple[IntArray, Layouts, IntArray]]:
        """The layouts under the given outer rows (default: all), in their order, in blocks of bounded size.

        Yields:
            (outer rows of the block, its layouts, for each layout its outer row). Only a single outer row with more
            candidates than ``block_rows`` makes a larger block.
        """
        chosen = np.arange(len(self.outer)) if rows is None else rows
        for part in _portions(self.candidates[chosen], block_rows):
            group = chosen[part]
            layouts, owner = self.outer.take(group), group
            for factor in self.inner:
                layouts, parent = grow(layouts, factor, self.facts)
                owner = owner[parent]
            if len(layouts):
                yield group, layouts, owner


def search_space(job: Job) -> Space:
    """The space that ``plan search`` goes through; with no options the reference space of docs/search.md.

    Raises:
        PlannerError: a search option names an unknown knob or an impossible value.
    """
    options = read_options(job)
    facts = gather_facts(job)
    objects = choose.gather_objects(options, facts, job.selective_modules)
    counts = choose.device_counts(options, job.devices, job.cluster.devices_per_node)
    meshes = list(choose.mesh_tuples(options, facts, objects, counts))
    table = _neutral(np.array(meshes, dtype=np.int64).reshape(-1, len(MESH_COLUMNS)), objects)
    start, factors = assign_rules(_factors(job, options, facts, objects), (*MESH_COLUMNS, "slices"), RULES)
    legal = np.ones(len(table), dtype=np.bool_)
    for rule in start:
        legal &= rule.holds(table, facts)
    outer = table.take(legal)
    outside = _OUTER_FACTORS + (not facts.experts)
    for factor in factors[:outside]:
        outer, _ = grow(outer, factor, facts)
    return _counted(outer, factors[outside:], facts, objects)[0]


def _factors(job: Job, options: Options, facts: Facts, objects: Objects) -> Sequence[Factor]:
    mesh = ("tp", "ulysses", "ring", "dp")
    return (
        Factor(("tp",), ("sp",), choose.sequence_choices(options)),
        Factor(("dp",), ("micro_batch", "micro_batches"), choose.batch_choices(options, facts)),
        Factor(
            ("pp", "micro_batches"),
            ("vpp", "schedule", "partition"),
            choose.stage_choices(options, facts, objects),
        ),
        Factor((*mesh, "pp", "axis_order"), ("ep", "etp"), choose.expert_choices(options, facts)),
        Factor(
            (*mesh, "pp", "axis_order"), _SHARDS, choose.shard_choices(options, facts, objects, job.cluster)
        ),
        Factor(
            ("pp", "partition"),
            ("recompute", "recompute_layers"),
            choose.recompute_choices(options, facts, objects),
        ),
        Factor((), ("offload",), choose.offload_choices(objects)),
    )


def _neutral(meshes: IntArray, objects: Objects) -> Layouts:
    rows = len(meshes)
    columns = {name: np.zeros(rows, dtype=np.int64) for name in COLUMNS}
    for name in (*_ONES, *_SHARDS[:3]):
        columns[name] = np.ones(rows, dtype=np.int64)
    columns["schedule"] = np.full(rows, SCHEDULES.index("1f1b"), dtype=np.int64)
    columns["recompute_layers"] = np.full(rows, -1, dtype=np.int64)
    columns |= {name: np.ascontiguousarray(meshes[:, place]) for place, name in enumerate(MESH_COLUMNS)}
    return Layouts(columns, objects.recompute, objects.offload, objects.partitions, objects.axis_orders)


def _counted(
    outer: Layouts, inner: Sequence[Factor], facts: Facts, objects: Objects
) -> tuple[Space, IntArray]:
    """The space of these outer rows, and which of them have layouts.

    Counted once for all rows that agree in what the inner factors and their rules read.
    """
    filled = {name for factor in inner for name in factor.fills}
    read = {name for factor in inner for name in factor.keys}
    read |= {name for factor in inner for rule in factor.other_rules for name in rule.columns}
    first, inverse = outer.unique(sorted(read - filled))
    count = _count(outer.take(first), inner, facts)[inverse]
    some = np.flatnonzero(count)
    left = outer if len(some) == len(outer) else outer.take(some)
    return Space(left, tuple(inner), facts, objects, count[some]), some


def _count(outer: Layouts, inner: Sequence[Factor], facts: Facts) -> IntArray:
    """Layouts under each row without making them: rules of the last factors read few columns."""
    layouts, owner = outer, np.arange(len(outer), dtype=np.int64)
    last = len(inner)
    while last and not inner[last - 1].other_rules and not _feeds(inner, last - 1):
        last -= 1
    for factor in inner[:last]:
        layouts, parent = grow(layouts, factor, facts)
        owner = owner[parent]
    weights = np.ones(len(layouts), dtype=np.int64)
    for factor in inner[last:]:
        weights *= choice_table(layouts, factor, facts).per_row
    return np.bincount(owner, weights=weights.astype(np.float64), minlength=len(outer)).astype(np.int64)


def _feeds(factors: Sequence[Factor], place: int) -> bool:
    """Whether a later factor's choices depend on what this one fills."""
    return any(set(factors[place].fills) & set(later.keys) for later in factors[place + 1 :])


def _portions(weights: IntArray, limit: int) -> Iterator[slice]:
    """Consecutive slices whose weights add up to at most ``limit`` (a single larger one stands alone)."""
    begin, total = 0, 0
    for place, weight in enumerate(weights.tolist()):
        if place > begin and total + weight > limit:
            yield slice(begin, place)
            begin, total = place, 0
        total += weight
    if begin < len(weights):
        yield slice(begin, len(weights))


def describe(space: Space) -> dict[str, Any]:
    """The values that each knob takes in the space, for reports."""
    seen = meshes = space.outer
    if space.closed:
        meshes = space.opened(seen.unique(space.inner[0].keys)[0])[0].outer
    names = ("tp", "ulysses", "ring", "pp", "vpp", "ep", "etp", "dp", "micro_batch")
    result: dict[str, Any] = {}
    for name in names:
        column = (meshes if name in ("ep", "etp") else seen).columns[name]
        result[name] = np.unique(column).tolist()
    result["schedule"] = [SCHEDULES[code] for code in sorted(set(seen.schedule.tolist()))]
    result["sp"] = [bool(flag) for flag in sorted(set(seen.sp.tolist()))]
    result["recompute"] = [" ".join((p.mode, *p.modules)) for p in space.objects.recompute]
    result["offload"] = [_moves(policy) for policy in space.objects.offload]
    return result


def _moves(policy: object) -> str:
    names = ("parameters", "gradients", "optimizer", "activations")
    moved = [f"{name} to {getattr(policy, name)[0]}" for name in names if getattr(policy, name)[0] != "hbm"]
    return ", ".join(moved) or "none"
