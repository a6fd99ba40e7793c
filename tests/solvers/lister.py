"""All layouts of a small job, by loops and laws written out from docs/layouts.md and docs/search.md; no code of the search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from planner.jobs.types import Job
from planner.layouts.layout import Layout, Offload, Recompute, Shard

SCHEDULES = ("1f1b", "interleaved_1f1b", "gpipe", "zb_h1")
OFFLOADS = {
    "nothing": Offload(),
    "optimizer": Offload(optimizer=("host", 1.0)),
    "activations": Offload(activations=("host", 1.0)),
}


def listed(job: Job) -> list[Layout]:
    """Every legal layout of the job's space.

    Of the search options it knows: limits of degrees and of the micro-batch, cp fixed, lists of schedules, recompute modes and
    ZeRO stages, offload fixed to none, idle devices.
    """
    return [
        replace(outer, shard=shard, recompute=policy, recompute_layers=first, offload=offload)
        for outer, inner in families(job)
        for shard, (policy, first), offload in product(*inner)
    ]


def at_most(job: Job, most: int) -> bool:
    """Whether there are no more layouts than that, and at least one."""
    count = 0
    for _, (shards, policies, moves) in families(job):
        count += len(shards) * len(policies) * len(moves)
        if count > most:
            return False
    return count > 0


Inner = tuple[list[Shard], list[tuple[Recompute, int | None]], list[Offload]]


def families(job: Job) -> Iterator[tuple[Layout, Inner]]:
    """Meshes with batch, pipeline and experts, and the choices of the other knobs that multiply them."""
    for mesh in meshes(job):
        for outer in outers(job, mesh):
            yield outer, (shards(job, outer), recomputes(job, outer.pp), offloads(job))


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def limited(job: Job, knob: str, values: list[int], own: int | None = None) -> list[int]:
    """Values under the user's cap, or under that of the reference space."""
    cap = job.search.limit.get(knob, own)
    return [value for value in values if cap is None or value <= cap]


def meshes(job: Job) -> Iterator[Layout]:
    per_node, fix = job.cluster.devices_per_node, job.search.fix
    counts = [job.devices]
    if job.search.allow.get("idle_devices"):
        counts = [n for n in range(1, job.devices + 1) if n % per_node == 0 or per_node % n == 0]
    for used in counts:
        for tp in limited(job, "tp", divisors(used), 64):
            for pp in limited(job, "pp", divisors(used // tp)):
                for cp in limited(job, "cp", divisors(used // tp // pp)):
                    if cp != fix.get("cp", cp) or used // tp // pp // cp not in limited(
                        job, "dp", [used // tp // pp // cp]
                    ):
                        continue
                    for ulysses in divisors(cp):
                        mesh = Layout(
                            tp=tp, pp=pp, ulysses=ulysses, ring=cp // ulysses, dp=used // tp // pp // cp
                        )
                        mesh = replace(mesh, cp_kind=ring_kind(job, mesh))
                        if mesh_is_lawful(job, mesh):
                            yield mesh


def ring_kind(job: Job, mesh: Layout) -> Any:
    """Keys and values are gathered only where the framework has no ring."""
    features = job.framework.features
    return "allgather" if mesh.ring > 1 and "ring" not in features and "cp_allgather" in features else "ring"


@dataclass(frozen=True)
class Sizes:
    """What degrees must divide."""

    heads: int
    kv_heads: int
    ffn: frozenset[int]
    expert_ffn: frozenset[int]

    @staticmethod
    def of(job: Job) -> Sizes:
        model = job.model
        arrays = [p for b in model.blocks.values() if b.kind == "layer" for p in b.parameters.values()]
        widths = {
            name: frozenset(a.size or 1 for p in arrays for a in p.axes if a.name == name)
            for name in ("ffn", "shared_ffn", "expert_ffn")
        }
        kv_heads = model.kv_heads or model.heads or 1
        return Sizes(model.heads or 1, kv_heads, widths["ffn"] | widths["shared_ffn"], widths["expert_ffn"])


def mesh_is_lawful(job: Job, mesh: Layout) -> bool:
    sizes, features, seq_len = Sizes.of(job), job.framework.features, job.training.seq_len
    split = mesh.tp * mesh.ulysses
    return all(
        (
            job.training.global_batch % mesh.dp == 0,
            sizes.heads % split == 0,
            sizes.kv_heads % split == 0 or (mesh.ulysses == 1 and mesh.tp % sizes.kv_heads == 0),
            all(width % mesh.tp == 0 for width in sizes.ffn),
            seq_len % mesh.cp == 0,
            mesh.ring == 1 or seq_len % (2 * mesh.cp) == 0,
            mesh.tp == 1 or "tp" in features,
            mesh.ulysses == 1 or "ulysses" in features,
            mesh.ring == 1 or ("ring" if mesh.cp_kind == "ring" else "cp_allgather") in features,
            mesh.pp == 1 or "pp" in features,
        )
    )


def outers(job: Job, mesh: Layout) -> Iterator[Layout]:
    """The mesh with every batch split, pipeline and expert mesh."""
    share = job.training.global_batch // mesh.dp
    for size in limited(job, "micro_batch", divisors(share), 64):
        for vpp, schedule in pipelines(job, mesh, share // size):
            for sp, ep, etp in experts(job, mesh):
                yield replace(
                    mesh,
                    sp=sp,
                    ep=ep,
                    etp=etp,
                    vpp=vpp,
                    schedule=schedule,
                    micro_batch=size,
                    micro_batches=share // size,
                )


def pipelines(job: Job, mesh: Layout, micro_batches: int) -> Iterator[tuple[int, Any]]:
    layers, profile = job.model.layers, job.framework
    if layers % mesh.pp:
        return
    wanted = job.search.allow.get("schedule", SCHEDULES)
    if mesh.pp == 1:
        # without a pipeline the schedule is 1f1b, which a list of schedules may leave out
        yield from [(1, "1f1b")] if "1f1b" in wanted else []
        return
    for vpp, schedule in product(limited(job, "vpp", divisors(layers // mesh.pp)), wanted):
        interleaved = schedule == "interleaved_1f1b"
        if schedule not in profile.schedules or (vpp > 1) != interleaved:
            continue
        if interleaved and (micro_batches % mesh.pp or "vpp" not in profile.features):
            continue
        yield vpp, schedule


def experts(job: Job, mesh: Layout) -> Iterator[tuple[bool, int, int]]:
    features, count, sizes = job.framework.features, job.model.experts, Sizes.of(job)
    ranks = mesh.tp * mesh.cp * mesh.dp
    for sp in (False, True) if mesh.tp > 1 else (False,):
        if sp and ("sp" not in features or job.training.seq_len % (mesh.tp * mesh.cp)):
            continue
        if not count:
            yield sp, 1, 1
            continue
        if mesh.tp > 1 and not sp:
            continue
        for ep, etp in product(limited(job, "ep", divisors(count)), limited(job, "etp", divisors(ranks))):
            folds = "folding" in features or (etp == mesh.tp and mesh.dp % ep == 0)
            if ep > 1 and "ep" not in features:
                continue
            if folds and ranks % (ep * etp) == 0 and all(width % etp == 0 for width in sizes.expert_ffn):
                yield sp, ep, etp


def shards(job: Job, row: Layout) -> list[Shard]:
    """ZeRO stages, and at the framework's highest one hybrid groups as large as a domain of each network level."""
    profile, group = job.framework, row.dp * row.cp
    stages = job.search.allow.get("zero_stage", profile.zero_stages)
    result = {shard_of(stage, group): stage for stage in reversed(stages)}
    if "zero_stage" not in job.search.allow and "shard_subgroup" in profile.features:
        highest = max(profile.zero_stages)
        for level in job.cluster.network:
            size = max([n for n in divisors(group) if n * row.tp <= level.size], default=1)
            if size > 1:
                result.setdefault(shard_of(highest, size), highest)
    if group == 1:
        return [Shard()]
    return [shard for shard, stage in result.items() if stage_is_lawful(job, row, shard, stage)]


def shard_of(stage: int, group: int) -> Shard:
    return Shard(group if stage >= 3 else 1, group if stage >= 2 else 1, group if stage >= 1 else 1)


def stage_is_lawful(job: Job, row: Layout, shard: Shard, stage: int) -> bool:
    profile = job.framework
    with_pipeline = profile.pipeline_zero_stages or profile.zero_stages
    kept = row.edp if job.model.experts else row.dp * row.cp
    sizes = (shard.parameters, shard.gradients, shard.optimizer)
    return (
        stage in profile.zero_stages
        and (row.pp == 1 or stage == 0 or stage in with_pipeline)
        and all(kept % min(size, kept) == 0 for size in sizes)
    )


def recomputes(job: Job, pp: int) -> list[tuple[Recompute, int | None]]:
    half = job.model.layers // pp // 2
    owned = {operator.module for block in job.model.blocks.values() for operator in block.operators}
    modules = tuple(module for module in job.framework.selective_modules if module in owned)
    result: list[tuple[Recompute, int | None]] = [
        (Recompute(), None),
        (Recompute("selective", modules), None),
        (Recompute("full"), None),
        *([(Recompute("full"), half)] if half else []),
    ]
    wanted = job.search.allow.get("recompute", ("none", "selective", "full"))
    return [(policy, first) for policy, first in result if policy.mode in wanted]


def offloads(job: Job) -> list[Offload]:
    """Policies that the framework can run, on a host whose memory is known."""
    if "offload" not in job.framework.features or not job.cluster.host.memory_bytes:
        return [Offload()]
    if job.search.fix.get("offload") == "none":
        return [Offload()]
    return list(OFFLOADS.values())
