"""Rows that fully_shard adds, by hand for published widths."""

from __future__ import annotations

from typing import Any

import pytest

from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout

HIDDEN, VOCAB = 16384, 128256


def predicted(model: str, devices: int, knobs: str, framework: str = "torchtitan") -> Any:
    training = {"global_batch": devices, "seq_len": 8192, "framework": framework}
    job = load_job(
        {
            "name": "x",
            "model": {"preset": model, "layers": 1},
            "cluster": "h100-superpod",
            "devices": devices,
            "training": training,
        }
    )
    return predict(job, parse_layout(knobs, job)).ranks[0]


def test_tables_of_an_odd_vocabulary_get_more_rows() -> None:
    """128,256 rows over 512 ranks: chunks of 251 where 250.5 would do; Llama 3 405B's other widths divide."""
    rank = predicted("llama3-405b", 512, "zero_stage=3,recompute=full")
    table = 251 * 512 * HIDDEN
    gathers = {row.bytes_per_call for row in rank.communication if row.collective == "all_gather"}
    assert {2.0 * table, 2.0 * (table + HIDDEN)} <= gathers
    layer = HIDDEN * (128 + 2 * 8 + 128) * 128 + 3 * HIDDEN * 53248 + 2 * HIDDEN
    assert rank.memory.by_class["parameters"] == pytest.approx(
        4 * (layer + 2 * table + HIDDEN) / 512, rel=1e-12
    )


def test_nothing_is_added_within_flat_buckets() -> None:
    """Megatron's distributed optimizer shares out flat buffers, not rows: 12 bytes of each parameter over 512 ranks."""
    rank = predicted("llama3-405b", 512, "zero_stage=1,recompute=full", "megatron-core")
    layer = HIDDEN * (128 + 2 * 8 + 128) * 128 + 3 * HIDDEN * 53248 + 2 * HIDDEN
    elements = layer + 2 * VOCAB * HIDDEN + HIDDEN
    assert rank.memory.by_class["optimizer"] == pytest.approx(12 * elements / 512, rel=1e-12)


def test_experts_are_cut_inside_where_there_are_fewer_than_ranks() -> None:
    """Mixtral on 64 ranks: 8 experts stay 8 (cut along their width), but the router's 8 rows become one for each rank."""
    rank = predicted("mixtral-8x7b", 64, "zero_stage=3,recompute=full")
    hidden = 4096
    attention, experts = hidden * (32 + 2 * 8 + 32) * 128, 8 * 3 * hidden * 14336
    elements = attention + experts + 3 * hidden + 64 * hidden + 2 * 32000 * hidden
    assert rank.memory.by_class["parameters"] == pytest.approx(4 * elements / 64, rel=1e-12)
