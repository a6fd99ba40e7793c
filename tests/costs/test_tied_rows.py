"""The sum of a tied table's gradient between the two ends of a pipeline."""

from __future__ import annotations

import pytest

from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout

MODEL = {"name": "tied", "layers": 8, "hidden": 64, "heads": 4, "ffn_hidden": 256, "vocab": 256}


@pytest.mark.parametrize(
    ("knobs", "ranks"),
    [
        ("pp=4", [1, 0, 0, 1]),
        ("pp=4,vpp=2,schedule=dualpipe_v", [0, 0, 0, 0]),  # a V has both ends on rank 0
        ("pp=1,dp=4", [0]),
    ],
)
def test_one_sum_a_step_of_the_ranks_that_hold_a_copy(knobs: str, ranks: list[int]) -> None:
    training = {"global_batch": 16, "seq_len": 64, "precision": "fp32", "framework": "ideal"}
    model = {**MODEL, "tied_embeddings": True}
    job = load_job({"model": model, "cluster": "h100-superpod", "devices": 4, "training": training})
    prediction = predict(job, parse_layout(knobs, job))
    found = [
        [row for row in rank.communication if row.axis == "pp" and row.collective == "all_reduce"]
        for rank in prediction.ranks
    ]
    assert [sum(row.calls_per_step for row in rows) for rows in found] == ranks
    # 256 x 64 gradients in 4 bytes each.
    assert {row.bytes_per_call for rows in found for row in rows} <= {256 * 64 * 4.0}
