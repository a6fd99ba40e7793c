"""Rules of the batch and of pipeline parallelism."""

from __future__ import annotations

import numpy as np

from planner.layouts.layout import SCHEDULES, Schedule
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule, mask

_ONE_CHUNK: tuple[Schedule, ...] = ("gpipe", "1f1b", "eager_1f1b", "zb_h1", "zb_h2", "dualpipe", "seq1f1b")
_TWO_CHUNKS: tuple[Schedule, ...] = ("zb_v", "v_half", "v_min", "dualpipe_v")
_SEVERAL_CHUNKS: tuple[Schedule, ...] = ("interleaved_1f1b", "looped_bfs", "interleaved_zb")


def _codes(names: tuple[Schedule, ...]) -> IntArray:
    return np.array([SCHEDULES.index(name) for name in names], dtype=np.int64)


def _is(layouts: Layouts, *names: Schedule) -> Mask:
    return np.isin(layouts.schedule, _codes(names))


def _batch(layouts: Layouts, facts: Facts) -> Mask:
    return mask(layouts.dp * layouts.micro_batch * layouts.micro_batches == facts.global_batch)


def _layers(layouts: Layouts, facts: Facts) -> Mask:
    stages = layouts.pp * layouts.vpp
    result = np.zeros(len(layouts), dtype=np.bool_)
    for code, partition in enumerate(layouts.partitions):
        if partition is None:
            good = facts.layers % stages == 0
        else:
            whole = sum(partition) == facts.layers and min(partition) >= 0
            good = (stages == len(partition)) & whole
        result |= (layouts.partition == code) & good
    return result


def _streams(layouts: Layouts, facts: Facts) -> Mask:
    return mask((layouts.pp == 1) | (facts.streams == 1))


def _schedule_pipeline(layouts: Layouts, facts: Facts) -> Mask:
    return mask((layouts.pp > 1) | (_is(layouts, "1f1b") & (layouts.vpp == 1)))


def _chunks(layouts: Layouts, facts: Facts) -> Mask:
    v = layouts.vpp
    return mask(
        (_is(layouts, *_ONE_CHUNK) & (v == 1))
        | (_is(layouts, *_TWO_CHUNKS) & (v == 2))
        | (_is(layouts, *_SEVERAL_CHUNKS) & (v >= 2))
        | (_is(layouts, "wave") & (v >= 2) & (v % 2 == 0))
        | _is(layouts, "csv")
    )


def _groups(layouts: Layouts, facts: Facts) -> Mask:
    grouped = _is(layouts, "interleaved_1f1b", "interleaved_zb")
    even = _is(layouts, "dualpipe")
    filled = _is(layouts, "dualpipe", "dualpipe_v")
    m, p = layouts.micro_batches, layouts.pp
    return mask(
        (~grouped | (m % p == 0)) & (~even | ((p % 2 == 0) & (m % 2 == 0))) & (~filled | (m >= 2 * p))
    )


def _slices(layouts: Layouts, facts: Facts) -> Mask:
    tokens = min(facts.sequences) // layouts.cp
    sliced = _is(layouts, "seq1f1b")
    return mask((layouts.slices >= 1) & np.where(sliced, layouts.slices <= tokens, layouts.slices == 1))


PIPELINE_RULES = (
    Rule(
        "batch",
        ("micro_batch", "dp"),
        ("dp", "micro_batch", "micro_batches"),
        _batch,
        lambda f: f"dp x micro_batch x grad_accum must equal the global batch ({f.global_batch})",
    ),
    Rule(
        "layers",
        ("vpp", "pp"),
        ("pp", "vpp", "partition"),
        _layers,
        lambda f: (
            f"pp x vpp must divide the {f.layers} layers, or layers_per_stage must give one number per virtual stage "
            f"that add up to {f.layers}"
        ),
    ),
    Rule(
        "streams",
        ("pp",),
        ("pp",),
        _streams,
        lambda f: "a model of several streams (encoder and decoder) runs on one pipeline stage: pp must be 1",
    ),
    Rule(
        "schedule_pipeline",
        ("schedule", "vpp"),
        ("pp", "vpp", "schedule"),
        _schedule_pipeline,
        lambda f: "without a pipeline (pp = 1) the schedule is 1f1b and vpp is 1",
    ),
    Rule(
        "schedule_chunks",
        ("vpp", "schedule"),
        ("vpp", "schedule"),
        _chunks,
        lambda f: (
            "vpp must suit the schedule: 1 for gpipe, 1f1b, eager_1f1b, zb_h1, zb_h2, dualpipe, seq1f1b; 2 for zb_v, "
            "v_half, v_min, dualpipe_v; at least 2 for interleaved_1f1b, looped_bfs, interleaved_zb; even for wave; a "
            "csv file's own"
        ),
    ),
    Rule(
        "schedule_micro_batches",
        ("micro_batch", "schedule"),
        ("pp", "micro_batches", "schedule"),
        _groups,
        lambda f: (
            "interleaved schedules need micro-batches in multiples of pp; dualpipe and dualpipe_v need at least 2 pp "
            "micro-batches, dualpipe an even number of them and an even pp"
        ),
    ),
    Rule(
        "slices",
        ("slices",),
        ("ulysses", "ring", "schedule", "slices"),
        _slices,
        lambda f: (
            f"slices cut a sequence ({min(f.sequences)} tokens over cp) under seq1f1b and are 1 otherwise"
        ),
    ),
)
