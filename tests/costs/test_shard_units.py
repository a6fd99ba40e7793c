"""Sharded units and their collectives as PyTorch's FSDP runs them, by hand for Llama 3 8B on 8 and 16 devices."""

from __future__ import annotations

from typing import Any

import pytest

from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout

LAYER = 4096 * (32 + 2 * 8 + 32) * 128 + 3 * 4096 * 14336 + 2 * 4096
TABLE = 128256 * 4096
HEAD = TABLE + 4096


def moved(framework: str, devices: int, knobs: str) -> dict[tuple[str, str, int, float], float]:
    """(pass, collective, ranks, bytes of a call) -> calls per step of the data-parallel axes."""
    training = {"global_batch": 2 * devices, "seq_len": 2048, "framework": framework}
    job = load_job(
        {
            "name": "x",
            "model": "llama3-8b",
            "cluster": "h100-superpod",
            "devices": devices,
            "training": training,
        }
    )
    rows = predict(job, parse_layout(knobs, job)).ranks[0].communication
    return {
        (row.pass_, row.collective, row.ranks, row.bytes_per_call): row.calls_per_step
        for row in rows
        if row.axis == "dp"
    }


def every_unit(pass_: str, collective: str, ranks: int, width: float, micro_batches: int) -> dict[Any, float]:
    """A call for each layer, the embedding, and norm with head."""
    sizes = {LAYER: 32, TABLE: 1, HEAD: 1}
    return {(pass_, collective, ranks, width * size): micro_batches * calls for size, calls in sizes.items()}


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_fsdp2_gathers_by_wrapped_module(micro_batches: int) -> None:
    """Traced with torch 2.13: 34 gathers in forward, 33 in backward (norm and head are kept), 34 reductions in fp32."""
    again = every_unit("backward", "all_gather", 8, 2.0, micro_batches)
    del again["backward", "all_gather", 8, 2.0 * HEAD]
    assert moved("torchtitan", 8, f"zero_stage=3,micro_batch={2 // micro_batches}") == (
        every_unit("forward", "all_gather", 8, 2.0, micro_batches)
        | again
        | every_unit("backward", "reduce_scatter", 8, 4.0, micro_batches)
    )


def test_without_resharding_nothing_is_gathered_again() -> None:
    """``reshard_after_forward=False``: shards are gathered for each micro-batch and freed after its backward."""
    assert moved("torchtitan", 8, "zero_stage=2,micro_batch=1") == (
        every_unit("forward", "all_gather", 8, 2.0, 2) | every_unit("backward", "reduce_scatter", 8, 4.0, 2)
    )


def test_a_pipeline_gathers_and_reduces_once_a_step() -> None:
    """PyTorch's pipeline runtime lets reductions and resharding wait for the last backward; eight layers a stage."""
    found = moved("torchtitan", 8, "pp=4,zero_stage=2,micro_batch=1")
    assert found == {
        ("forward", "all_gather", 2, 2.0 * LAYER): 8,
        ("forward", "all_gather", 2, 2.0 * TABLE): 1,
        ("backward", "reduce_scatter", 2, 4.0 * LAYER): 8,
        ("backward", "reduce_scatter", 2, 4.0 * TABLE): 1,
    }


def test_hsdp_sums_shards_over_replicas_in_every_micro_batch() -> None:
    """fully_shard on a mesh of 2 x 8: reduce-scatter over 8, then all-reduce of the shard over 2 (``foreach_reduce``)."""
    found = moved("torchtitan", 16, "shard={parameters: 8},micro_batch=1")
    assert {key: calls for key, calls in found.items() if key[1] != "all_gather"} == (
        every_unit("backward", "reduce_scatter", 8, 4.0, 2) | every_unit("backward", "all_reduce", 2, 0.5, 2)
    )


def test_fsdp1_keeps_its_root() -> None:
    """Embedding, norm and head are the root's: one unit, gathered once."""
    root = TABLE + HEAD
    assert moved("composer-fsdp", 8, "zero_stage=3,micro_batch=2") == {
        ("forward", "all_gather", 8, 2.0 * LAYER): 32,
        ("forward", "all_gather", 8, 2.0 * root): 1,
        ("backward", "all_gather", 8, 2.0 * LAYER): 32,
        ("backward", "reduce_scatter", 8, 2.0 * LAYER): 32,
        ("backward", "reduce_scatter", 8, 2.0 * root): 1,
    }
