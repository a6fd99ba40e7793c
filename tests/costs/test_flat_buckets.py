"""Buckets of flat buffers: Megatron-LM's packing by hand, and the same as the reference trainer's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from planner.costs.flat_buckets import Bucket, packed
from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout

JOB: dict[str, Any] = {
    "model": {"preset": "llama3-8b", "layers": 2},
    "cluster": "h100-superpod",
    "devices": 8,
    "training": {"seq_len": 8192, "global_batch": 8, "framework": "megatron-core"},
}
HIDDEN, FFN, VOCAB, BYTES = 4096, 14336, 128256, 4
QKV, OUT = HIDDEN * (HIDDEN + 2 * 1024), HIDDEN * HIDDEN
UP, DOWN = 2 * HIDDEN * FFN, HIDDEN * FFN


def _calls(layout: str, **training: Any) -> Counter[float]:
    """Bytes of a gradient call -> calls a step."""
    job = load_job(JOB | {"training": JOB["training"] | training})
    found: Counter[float] = Counter()
    for item in predict(job, parse_layout(layout, job)).ranks[0].communication:
        if item.axis == "dp" and item.pass_ == "backward":
            found[item.bytes_per_call] += int(item.calls_per_step)
    return found


def test_a_bucket_closes_when_it_is_full_and_is_padded() -> None:
    assert list(packed([3, 4, 5, 1], 6, 2)) == [Bucket(7, 8), Bucket(6, 6)]
    assert list(packed([9, 1], 6, 1)) == [Bucket(9, 9), Bucket(1, 1)]


def test_megatrons_buckets_of_llama_by_hand() -> None:
    """40 million elements close a bucket; backward comes from the head, fused projections are one parameter."""
    layer = [
        DOWN,  # 58.7 million
        UP,  # 117.4 million
        HIDDEN
        + OUT
        + QKV,  # norm, output projection, q with k and v: 42.0 million, the first norm is left over
        HIDDEN + DOWN,
        UP,
        HIDDEN + OUT + QKV,
    ]
    sizes = [VOCAB * HIDDEN, HIDDEN + layer[0], *layer[1:], HIDDEN + VOCAB * HIDDEN]
    assert _calls("zero_stage=1") == Counter(BYTES * size for size in sizes)


def test_one_bucket_holds_what_never_fills_it() -> None:
    whole = 2 * (QKV + OUT + UP + DOWN + 2 * HIDDEN) + 2 * VOCAB * HIDDEN + HIDDEN
    assert _calls("zero_stage=1", overlap={"bucket_bytes": 1e12}) == {BYTES * whole: 1}


@pytest.mark.parametrize("layout", ["zero_stage=0", "zero_stage=1"])
def test_bytes_do_not_depend_on_the_bucket(layout: str) -> None:
    small, large = (_calls(layout, overlap={"bucket_bytes": size}) for size in (1e6, 1e9))
    assert sum(n * size for size, n in small.items()) == sum(n * size for size, n in large.items())
    assert sum(small.values()) > sum(large.values())
