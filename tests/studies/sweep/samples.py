"""Small sweeps for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.jobs.loader import open_job
from planner.jobs.shelf import Shelf
from planner.studies.sweep.request import Request, Sweep, checked_sweep

JOB = {
    "model": "gpt3-125m",
    "cluster": "h100-superpod",
    "devices": 1,
    "training": {"global_batch": 24, "seq_len": 1024, "framework": "megatron-core"},
}


def small_sweep(over: Mapping[str, Any], *, layout: str | None = "tp=1", **options: Any) -> Sweep:
    """A checked sweep of a job of one device."""
    return checked_sweep(Request(open_job(JOB), over, layout=layout, **options), Shelf())
