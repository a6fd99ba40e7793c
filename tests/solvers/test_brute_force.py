"""The search against a listing of all layouts that shares nothing with the search space."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from planner.costs.evaluate import evaluate
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Offload, Recompute, Shard
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import check, legal_mask
from planner.layouts.space.space import search_space
from planner.solvers.search import search
from planner.solvers.sweep import Sweep, SweepOptions, sweep_space

TINY = {"preset": "llama3-8b", "layers": 4}
TINY_MOE = {"preset": "mixtral-8x7b", "layers": 4}
SCHEDULES = ("1f1b", "interleaved_1f1b", "gpipe", "zb_h1")


def jobs(make_job: Any) -> dict[str, Job]:
    big_batch = {"per_node": 4, "seq_len": 4096}
    return {
        "dense": make_job(TINY, 8, 16, **big_batch),
        "experts": make_job(
            TINY_MOE, 8, 16, framework="megatron-core", limit={"micro_batch": 4}, **big_batch
        ),
        "context": make_job(TINY, 8, 8, seq_len=65536, limit={"tp": 2, "pp": 2, "micro_batch": 4}),
        "offload": make_job({"preset": "llama3-8b", "layers": 24}, 4, 8, framework="fsdp", per_node=2),
        "not a power of two": make_job(
            {"preset": "gpt3-125m", "layers": 12}, 12, 36, per_node=6, fix={"cp": 1}
        ),
        "idle devices": make_job(TINY, 6, 12, per_node=3, allow={"idle_devices": True}, fix={"cp": 1}),
    }


NAMES = ("dense", "experts", "context", "offload", "not a power of two", "idle devices")


def listed(job: Job) -> list[Layout]:
    """Every legal layout of the reference space, by loops over all knobs."""
    devices, batch, experts = job.devices, job.training.global_batch, job.model.experts
    limit, fix = job.search.limit, job.search.fix
    numbers = range(1, devices + 1)
    rows = []
    for tp, ulysses, ring, pp, dp in product(numbers, repeat=5):
        used = tp * ulysses * ring * pp * dp
        per_node = job.cluster.devices_per_node
        idle = job.search.allow.get("idle_devices") and (used % per_node == 0 or per_node % used == 0)
        if not (used == devices or (idle and used < devices)):
            continue
        if tp > limit.get("tp", 64) or pp > limit.get("pp", devices):
            continue
        if "cp" in fix and ulysses * ring != fix["cp"]:
            continue
        mesh = Layout(tp=tp, ulysses=ulysses, ring=ring, pp=pp, dp=dp)
        rows += [
            replace(
                mesh,
                sp=sp,
                ep=ep,
                etp=etp,
                vpp=vpp,
                schedule=schedule,
                micro_batch=size,
                micro_batches=batch // (dp * size),
                shard=shard,
                recompute=recompute,
                recompute_layers=first,
                offload=offload,
            )
            for sp in ((False, True) if tp > 1 else (False,))
            for ep in (range(1, experts + 1) if experts else (1,))
            for etp in (range(1, devices + 1) if experts else (1,))
            for vpp in range(1, job.model.layers + 1)
            for schedule in SCHEDULES
            for size in range(1, min(limit.get("micro_batch", 64), batch) + 1)
            if batch % (dp * size) == 0
            and job.model.layers % (pp * vpp) == 0
            and (vpp > 1) == (schedule == "interleaved_1f1b")
            and (pp > 1 or schedule == "1f1b")
            and (not experts or (experts % ep == 0 and (tp * ulysses * ring * dp) % (ep * etp) == 0))
            for shard in shards(job, mesh)
            for recompute, first in recomputes(job, pp)
            for offload in offloads(job)
        ]
    return [row for row in rows if lawful(job, row)]


def lawful(job: Job, row: Layout) -> bool:
    """What remains of legality for decoders after the loops, written out from docs/layouts.md; no code of the product."""
    model, seq_len, profile = job.model, job.training.seq_len, job.framework
    widths = [
        a.size or 1
        for b in model.blocks.values()
        for p in b.parameters.values()
        for a in p.axes
        if a.name == "ffn"
    ]
    split = row.tp * row.ulysses
    kv_heads = model.kv_heads or 1
    state_stage = (
        3
        if row.shard.parameters > 1
        else 2
        if row.shard.gradients > 1
        else 1
        if row.shard.optimizer > 1
        else 0
    )
    return all(
        (
            (model.heads or 1) % split == 0,
            kv_heads % split == 0 or (row.ulysses == 1 and row.tp % kv_heads == 0),
            all(width % row.tp == 0 for width in widths),
            seq_len % row.cp == 0,
            row.ring == 1 or seq_len % (2 * row.cp) == 0,
            not row.sp or seq_len % (row.tp * row.cp) == 0,
            row.tp == 1 or row.sp or not model.experts,
            row.schedule != "interleaved_1f1b" or row.micro_batches % row.pp == 0,
            row.pp == 1 or row.schedule in profile.schedules,
            state_stage == 0 or state_stage in profile.zero_stages,
            row.ulysses == 1 or "ulysses" in profile.features,
            row.ring == 1 or "ring" in profile.features,
        )
    )


def shards(job: Job, mesh: Layout) -> list[Shard]:
    group = mesh.dp * mesh.ulysses * mesh.ring
    highest = max(job.framework.zero_stages)
    result = {Shard(), Shard(1, 1, group), Shard(1, group, group), Shard(group, group, group)}
    for level in job.cluster.network:
        fitting = [n for n in range(1, group + 1) if group % n == 0 and n * mesh.tp <= level.size]
        size = max(fitting, default=1)
        result.add(Shard(size if highest >= 3 else 1, size if highest >= 2 else 1, size))
    return sorted(result, key=lambda s: (s.parameters, s.gradients, s.optimizer))


def recomputes(job: Job, pp: int) -> list[tuple[Recompute, int | None]]:
    half = job.model.layers // pp // 2
    result: list[tuple[Recompute, int | None]] = [
        (Recompute(), None),
        (Recompute("selective", job.framework.selective_modules), None),
        (Recompute("full"), None),
    ]
    return result + ([(Recompute("full"), half)] if half else [])


def offloads(job: Job) -> list[Offload]:
    if "offload" not in job.framework.features:
        return [Offload()]
    return [Offload(), Offload(optimizer=("host", 1.0)), Offload(activations=("host", 1.0))]


def swept(job: Job, objective: Any = "step_time", **options: Any) -> Sweep:
    return sweep_space(job, search_space(job), SweepOptions(**options), objective)


@pytest.mark.parametrize("name", NAMES)
def test_search_equals_brute_force(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    rows = listed(job)
    assert len(set(rows)) == len(rows)
    space = search_space(job)
    made = [layouts.row(i) for _, layouts, _ in space.blocks() for i in range(len(layouts))]
    assert len(made) == len(set(made)) == space.size
    assert set(made) == set(rows)

    result = evaluate(job, from_layouts(rows))
    fits = result.memory.fits
    time_s = np.where(fits, result.step_time_s, np.inf)
    memory = np.where(fits, result.memory.device_used_bytes, np.inf)
    assert np.count_nonzero(fits) >= 1

    fastest = swept(job, top=10)
    assert fastest.ranking.points.time_s.tolist() == np.sort(time_s)[:10].tolist()
    leanest = swept(job, "memory", top=10)
    assert leanest.ranking.points.memory_bytes.tolist() == np.sort(memory)[:10].tolist()
    assert fastest.pruned["memory"] + fastest.pruned["bound"] + fastest.evaluated == len(rows)

    devices = np.array([row.tp * row.cp * row.pp * row.dp for row in rows])
    assert _points(fastest) == _pareto(time_s[fits], memory[fits], devices[fits])


def _points(sweep: Sweep) -> set[tuple[float, float, int]]:
    points = sweep.frontier.points
    return set(
        zip(points.time_s.tolist(), points.memory_bytes.tolist(), points.devices.tolist(), strict=True)
    )


def _pareto(time_s: Any, memory: Any, devices: Any) -> set[tuple[float, float, int]]:
    """Points that no other equals or beats everywhere. In sorted order a rival always comes first."""
    kept: list[tuple[float, float, int]] = []
    for point in sorted(set(zip(time_s.tolist(), memory.tolist(), devices.tolist(), strict=True))):
        if not any(rival[1] <= point[1] and rival[2] <= point[2] for rival in kept):
            kept.append(point)
    return set(kept)


@pytest.mark.parametrize("name", NAMES)
def test_pruning_changes_no_result(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    for objective in ("step_time", "memory", "cost"):
        pruned, full = swept(job, objective), swept(job, objective, prune=False)
        ranked = [
            [sweep.ranking.points.layouts.row(i) for i in range(len(sweep.ranking.points))]
            for sweep in (pruned, full)
        ]
        assert ranked[0] == ranked[1]
        assert _points(pruned) == _points(full)
        assert full.evaluated >= pruned.evaluated
        # what both bounds rule out together counts as bound, whether it fits or not
        assert full.pruned["memory"] >= pruned.pruned["memory"]
        assert sum(pruned.pruned.values()) + pruned.evaluated == full.pruned["memory"] + full.evaluated


def test_block_size_changes_no_result(make_job: Any) -> None:
    job = jobs(make_job)["experts"]
    small, large = swept(job, block_rows=97), swept(job)
    assert [small.ranking.points.layouts.row(i) for i in range(10)] == [
        large.ranking.points.layouts.row(i) for i in range(10)
    ]
    assert _points(small) == _points(large)


@pytest.mark.parametrize("name", NAMES)
def test_written_out_legality_is_the_rules(make_job: Any, name: str) -> None:
    rows = listed(jobs(make_job)[name])
    assert legal_mask(from_layouts(rows), jobs(make_job)[name]).all()


def test_every_layout_of_the_space_passes_check(make_job: Any) -> None:
    """The explained rules and the space agree, one layout at a time."""
    job = make_job(TINY, 4, 4, fix={"recompute": "none"}, limit={"micro_batch": 2})
    rows = listed(replace(job, search=replace(job.search, fix={})))
    for row in rows:
        assert not check(job, row)


def test_certificate_and_json(make_job: Any) -> None:
    job = jobs(make_job)["dense"]
    result = search(job, top=3)
    assert result.certificate["proved"] is True
    assert result.certificate["gap"] == 0.0
    assert result.certificate["best_s"] == result.certificate["lower_bound_s"] == result.plans[0].step_time_s
    space = result.to_json()["space"]
    assert space["candidates"] == space["evaluated"] + sum(space["pruned"].values())
    assert [plan.rank for plan in result.plans] == [1, 2, 3]
