"""Models and random legal layouts that the tests of costs share."""

from __future__ import annotations

import numpy as np

from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES, Offload, Recompute
from planner.layouts.layouts import COLUMNS, Layouts
from planner.layouts.legality import legal_mask

DENSE = {
    "layers": 8,
    "hidden": 1024,
    "heads": 16,
    "kv_heads": 4,
    "ffn_hidden": 4096,
    "gated_mlp": True,
    "vocab": 32000,
    "tied_embeddings": True,
}
MOE = DENSE | {
    "moe": {"experts": 16, "topk": 2, "moe_ffn": 1024, "dense_layers": 1},
    "tied_embeddings": False,
}
POLICIES = (Recompute(), Recompute("selective", ("core_attention",)), Recompute("full"))
OFFLOADS = (Offload(), Offload(optimizer=("host", 1.0)), Offload(activations=("host", 0.5)))


def random_layouts(job: Job, count: int, seed: int, draws: int = 400_000) -> Layouts:
    """Legal layouts drawn independently knob by knob, ``draws`` at a time, and filtered; exactly ``count`` rows."""
    generator = np.random.default_rng(seed)
    found: list[Layouts] = []
    total = 0
    while total < count:
        powers = np.array([1, 2, 4, 8])
        c = {name: np.zeros(draws, dtype=np.int64) for name in COLUMNS}
        for name in ("tp", "ulysses", "ring", "pp", "vpp", "ep", "etp", "micro_batch"):
            c[name] = generator.choice(powers, draws, p=[0.55, 0.2, 0.15, 0.1])
        c["dp"] = np.maximum(job.devices // (c["tp"] * c["ulysses"] * c["ring"] * c["pp"]), 1)
        group = c["dp"] * c["ulysses"] * c["ring"]
        stage = generator.integers(0, 4, draws)
        for needed, name in enumerate(("shard_optimizer", "shard_gradients", "shard_parameters"), start=1):
            c[name] = np.where(stage >= needed, group, 1)
        names = ("gpipe", "1f1b", "interleaved_1f1b", "zb_h1")
        c["schedule"] = generator.choice([SCHEDULES.index(name) for name in names], draws)
        c["slices"] = np.ones(draws, dtype=np.int64)
        c["sp"] = generator.integers(0, 2, draws)
        c["micro_batches"] = np.maximum(job.training.global_batch // (c["dp"] * c["micro_batch"]), 1)
        c["recompute"] = generator.integers(0, len(POLICIES), draws)
        c["recompute_layers"] = generator.choice([-1, 1], draws)
        c["recompute_layers"][c["recompute"] == 0] = -1
        c["offload"] = generator.integers(0, len(OFFLOADS), draws)
        c["cp_gather"] = generator.integers(0, 2, draws) * (c["ring"] > 1)
        rows = Layouts(c, POLICIES, OFFLOADS, (None,), (("tp", "cp", "ep", "dp", "pp"),))
        legal = rows.take(np.flatnonzero(legal_mask(rows, job)))
        found.append(legal)
        total += len(legal)
    columns = {name: np.concatenate([part.columns[name] for part in found])[:count] for name in COLUMNS}
    return Layouts(columns, POLICIES, OFFLOADS, (None,), (("tp", "cp", "ep", "dp", "pp"),))
