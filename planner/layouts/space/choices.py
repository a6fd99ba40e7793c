"""Choices of each group of knobs in the reference space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from planner.hardware.types import Cluster
from planner.layouts.layout import DEFAULT_AXIS_ORDER, SCHEDULES, Offload, Recompute, Shard
from planner.layouts.presets import zero_shard
from planner.layouts.rules.facts import Facts
from planner.layouts.space.factor import Choice
from planner.layouts.space.options import Options
from planner.layouts.variants import divisors

LARGEST_TP = 64
LARGEST_MICRO_BATCH = 64
REFERENCE_SCHEDULES = ("1f1b", "interleaved_1f1b", "gpipe", "zb_h1")
MESH_COLUMNS = ("tp", "ulysses", "ring", "pp", "dp", "cp_gather", "axis_order")

Choices = Callable[[Mapping[str, int]], Sequence[Choice]]
T = TypeVar("T")


@dataclass(frozen=True)
class Objects:
    """Interned objects that columns of the space index.

    Args:
        recompute: policies; offload: policies; partitions: layers per virtual stage (None: even); axis_orders.
    """

    recompute: tuple[Recompute, ...]
    offload: tuple[Offload, ...]
    partitions: tuple[tuple[int, ...] | None, ...]
    axis_orders: tuple[tuple[str, ...], ...]


def gather_objects(options: Options, facts: Facts, selective_modules: tuple[str, ...]) -> Objects:
    """The objects that the space chooses among."""
    modules = tuple(module for module in selective_modules if module in facts.modules)
    selective = (Recompute("selective", modules),) if modules else ()
    policies = options.choices("recompute", (Recompute(), *selective, Recompute("full")))
    if "recompute_modules" in options.values:
        named = options.values["recompute_modules"]
        policies = named if "recompute" not in options.values else (*_without_selective(policies), *named)
    moves = (Offload(), Offload(optimizer=("host", 1.0)), Offload(activations=("host", 1.0)))
    partitions: tuple[tuple[int, ...] | None, ...] = options.choices("layers_per_stage", (None,))
    if options.uneven_stages and "layers_per_stage" not in options.values:
        stages = (pp for pp in divisors(facts.devices) if pp <= facts.layers and facts.layers % pp)
        partitions = (*partitions, *(near_even(facts.layers, pp) for pp in stages))
    return Objects(
        recompute=_distinct(policies),
        offload=_distinct(options.choices("offload", moves)),
        partitions=_distinct(partitions),
        axis_orders=_distinct(options.choices("axis_order", (DEFAULT_AXIS_ORDER,))),
    )


def _without_selective(policies: tuple[Recompute, ...]) -> tuple[Recompute, ...]:
    return tuple(policy for policy in policies if policy.mode != "selective")


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))


def near_even(layers: int, stages: int) -> tuple[int, ...]:
    """Layers per stage that differ by at most one, the longer stages in the middle (the ends hold embedding and head)."""
    short, longer = divmod(layers, stages)
    begin = (stages - longer) // 2
    return tuple(short + (begin <= stage < begin + longer) for stage in range(stages))


def device_counts(options: Options, devices: int, per_node: int) -> tuple[int, ...]:
    """Devices that a layout may use: all, or with idle devices whole nodes and equal parts of one node."""
    if not options.idle_devices:
        return (devices,)
    parts = [count for count in divisors(per_node) if count <= devices]
    return tuple(sorted({*parts, *range(per_node, devices + 1, per_node), devices}))


def mesh_tuples(
    options: Options, facts: Facts, objects: Objects, counts: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Every ordered factorisation of the devices into tp, ulysses, ring, pp and dp, as rows of ``MESH_COLUMNS``."""
    splits: dict[int, list[tuple[int, ...]]] = {}
    for devices in counts:
        for tp in options.numbers("tp", divisors(devices), cap=LARGEST_TP):
            for pp in options.numbers("pp", divisors(devices // tp)):
                for cp in options.numbers("cp", divisors(devices // (tp * pp))):
                    dp = devices // (tp * pp * cp)
                    if facts.global_batch % dp or not options.accepts("dp", dp):
                        continue
                    if cp not in splits:
                        splits[cp] = list(_context_splits(options, facts, cp))
                    for ulysses, ring, gather in splits[cp]:
                        for order in range(len(objects.axis_orders)):
                            yield (tp, ulysses, ring, pp, dp, gather, order)


def _context_splits(options: Options, facts: Facts, cp: int) -> Iterator[tuple[int, ...]]:
    """(ulysses, ring, kind of ring) of a degree of context parallelism."""
    for ulysses in options.numbers("ulysses", divisors(cp)):
        ring = cp // ulysses
        if options.accepts("ring", ring):
            yield from ((ulysses, ring, gather) for gather in _ring_kinds(options, facts, ulysses, ring))


def _ring_kinds(options: Options, facts: Facts, ulysses: int, ring: int) -> tuple[int, ...]:
    """0: ring, 1: all-gather of keys and values, by the kinds that the user accepts."""
    if "cp_kind" not in options.values:
        return (
            (1,) if ring > 1 and "ring" not in facts.features and "cp_allgather" in facts.features else (0,)
        )
    if ulysses == ring == 1:
        return (0,)
    kind = "ring" if ulysses == 1 else ("ulysses" if ring == 1 else "usp")
    kinds = options.values["cp_kind"]
    return (*((0,) if kind in kinds else ()), *((1,) if ring > 1 and "allgather" in kinds else ()))


def sequence_choices(options: Options) -> Choices:
    """(sp) for a tp."""

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        if mesh["tp"] == 1 and "sp" not in options.values:
            return [(0,)]
        return [(int(flag),) for flag in options.choices("sp", (False, True))]

    return choices


def expert_choices(options: Options, facts: Facts) -> Choices:
    """(ep, etp) for a mesh."""
    expert_degrees = options.numbers("ep", divisors(facts.experts) if facts.experts else (1,))

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        ranks = mesh["tp"] * mesh["ulysses"] * mesh["ring"] * mesh["dp"]
        tensor_degrees = options.numbers("etp", divisors(ranks) if facts.experts else (1,))
        return [(ep, etp) for ep in expert_degrees for etp in tensor_degrees if ranks % (ep * etp) == 0]

    return choices


def shard_choices(options: Options, facts: Facts, objects: Objects, cluster: Cluster) -> Choices:
    """(parameters, gradients, optimizer, secondary) for a mesh: ZeRO stages, and hybrid groups at each network level."""

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        group = mesh["dp"] * mesh["ulysses"] * mesh["ring"]
        shards: list[Shard] = []
        if "shard" in options.values:
            shards = list(options.values["shard"])
        if "zero_stage" in options.values or not shards:
            stages = options.choices("zero_stage", facts.zero_stages)
            shards += [zero_shard(stage, group) for stage in stages]
        if "zero_stage" not in options.values and "shard" not in options.values:
            order = objects.axis_orders[mesh["axis_order"]]
            shards += [
                zero_shard(max(facts.zero_stages), n) for n in _level_groups(mesh, order, group, cluster)
            ]
        if group == 1 and "shard" not in options.values:
            shards = shards[:1]
        rows = [(s.parameters, s.gradients, s.optimizer, s.parameters_secondary) for s in shards]
        return list(dict.fromkeys(rows))

    return choices


def _level_groups(
    mesh: Mapping[str, int], order: tuple[str, ...], group: int, cluster: Cluster
) -> Iterator[int]:
    """For each network level the most ranks of dp x cp that one of its domains holds and that divide the group."""
    degrees = {"tp": mesh["tp"], "pp": mesh["pp"]}
    inside = 1
    for axis in order:
        if axis in ("cp", "dp"):
            break
        inside *= degrees.get(axis, 1)
    parts = divisors(group)
    for level in cluster.network:
        within = max(1, level.size // inside)
        size = max(d for d in parts if d <= within)
        if 1 < size < group:
            yield size


def batch_choices(options: Options, facts: Facts) -> Choices:
    """(micro_batch, micro_batches) for a dp."""

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        share = facts.global_batch // mesh["dp"]
        sizes = options.numbers("micro_batch", divisors(share), cap=LARGEST_MICRO_BATCH)
        return [(size, share // size) for size in sizes if options.accepts("grad_accum", share // size)]

    return choices


def stage_choices(options: Options, facts: Facts, objects: Objects) -> Choices:
    """(vpp, schedule, partition) for a pipeline degree and a number of micro-batches."""
    wanted = [name for name in options.choices("schedule", REFERENCE_SCHEDULES) if name in SCHEDULES]
    codes = sorted({SCHEDULES.index(name) for name in wanted})

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        pp = mesh["pp"]
        if pp == 1 and "schedule" not in options.values:
            wanted_here = [SCHEDULES.index("1f1b")]
        else:
            wanted_here = codes
        result = []
        for place, partition in enumerate(objects.partitions):
            chunks = divisors(facts.layers // pp) if partition is None and facts.layers % pp == 0 else ()
            if partition is not None and len(partition) % pp == 0:
                chunks = (len(partition) // pp,)
            for vpp in options.numbers("vpp", chunks):
                result += [(vpp, code, place) for code in wanted_here]
        return result

    return choices


def recompute_choices(options: Options, facts: Facts, objects: Objects) -> Choices:
    """(recompute, recompute_layers) for a pipeline degree; full recomputation of all layers or of the first half."""

    def choices(mesh: Mapping[str, int]) -> Sequence[Choice]:
        half = facts.layers // mesh["pp"] // 2
        result = []
        for code, policy in enumerate(objects.recompute):
            counts: tuple[int, ...] = (-1,)
            if policy.mode == "full" and half:
                counts = (-1, half)
            if policy.mode != "none":
                counts = options.choices("recompute_layers", counts)
            result += [(code, count) for count in counts]
        return result

    return choices


def offload_choices(objects: Objects) -> Choices:
    """Every offload policy."""
    rows: list[Choice] = [(code,) for code in range(len(objects.offload))]
    return lambda mesh: rows
