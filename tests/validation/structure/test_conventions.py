"""Attention of shared sequences by kernel calls, against blocks counted one by one."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pytest

from planner.layouts.knobs import parse_layout
from planner.validation.structure.compare import compare
from planner.validation.structure.conventions import attention_share
from planner.validation.trainer.context.blocks import Visible, from_rank, of_sequence
from tests.costs.samples import DENSE
from tests.validation.structure.test_compare import traced_as_predicted

TOKENS = 64


def area(blocks: Iterable[Visible]) -> int:
    """Queries times keys of all calls of a rank with ``TOKENS`` tokens."""
    tokens = range(TOKENS)
    return sum(len(tokens[block.queries]) * len(tokens[block.keys]) for block in blocks)


@pytest.mark.parametrize("c", [2, 4, 8])
@pytest.mark.parametrize("zigzag", [True, False])
def test_ring_of_the_first_rank(make_job: Any, c: int, zigzag: bool) -> None:
    """The calls of rank 0, over all queries of a rank times all keys."""
    training = {"cp_balance": "zigzag" if zigzag else "contiguous"}
    job = make_job(DENSE, devices=c, global_batch=c, framework="megatron-core", training=training)
    layout = parse_layout(f"cp={c},cp_kind=ring", job)
    calls = [block for source in range(c) for block in from_rank(source, 0, TOKENS, zigzag=zigzag)]
    seen = attention_share(job, layout)
    assert seen.share == Fraction(area(calls), c * TOKENS * TOKENS)
    assert seen.name


@pytest.mark.parametrize("c", [2, 4])
def test_gathered_keys(make_job: Any, c: int) -> None:
    """Each rank of a zigzag group has the same share."""
    job = make_job(DENSE, devices=c, global_batch=c, framework="megatron-core")
    layout = parse_layout(f"cp={c},cp_kind=allgather", job)
    for rank in range(c):
        calls = of_sequence((rank, 2 * c - 1 - rank), TOKENS // 2)
        queries = sum((b.queries.stop - b.queries.start) * (b.keys.stop - b.keys.start) for b in calls)
        assert attention_share(job, layout).share == Fraction(queries, c * TOKENS * TOKENS)


def test_the_named_difference_is_taken_out_of_the_trace(make_job: Any) -> None:
    """A trace with 5/8 of the attention of a ring of four passes, the full square does not."""
    from dataclasses import replace

    job = make_job(DENSE, devices=4, global_batch=4, framework="megatron-core")
    layout = parse_layout("cp=4,cp_kind=ring", job)
    trace = traced_as_predicted(job, layout)
    attention = trace.flops["forward"] // 64 * 8
    short = attention - attention * 5 // 8
    ring = replace(
        trace,
        flops=trace.flops | {"forward": trace.flops["forward"] - short},
        attention_flops={"forward": attention * 5 // 8},
    )
    flops = [term for term in compare(job, layout, 0, ring) if term.area == "flops"]
    assert all(term.passed for term in flops)
    assert "zigzag ring" in flops[0].convention
    full = replace(trace, attention_flops={"forward": attention})
    assert not all(term.passed for term in compare(job, layout, 0, full) if term.area == "flops")
