"""Hand-made predictions: every figure chosen, none computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.jobs.prediction import EXPOSED_AXES, MemoryBreakdown, Prediction, TimeBreakdown

GIB = 2.0**30

KNOBS: Mapping[str, Any] = {
    "tp": 8,
    "sp": True,
    "cp": 1,
    "pp": 4,
    "vpp": 2,
    "schedule": "interleaved_1f1b",
    "ep": 1,
    "etp": 1,
    "dp": 2,
    "zero_stage": 1,
    "micro_batch": 1,
    "grad_accum": 64,
    "recompute": "selective",
    "recompute_modules": ["core_attention"],
}


def prediction(**changes: Any) -> Prediction:
    """A step of 10 s: 8 s compute, 1.5 s exposed tp, 0.5 s bubble; 60 of 80 GiB used, 4 GiB kept free."""
    exposed = dict.fromkeys(EXPOSED_AXES, 0.0) | {"tp": 1.5}
    memory = MemoryBreakdown(
        capacity_bytes=80 * GIB,
        peak_bytes=55 * GIB,
        reserved_bytes=58 * GIB,
        device_used_bytes=60 * GIB,
        reserve_bytes=4 * GIB,
        fits=True,
        peak_at="layer backward",
        by_class={"parameters": 15 * GIB, "optimizer": 20 * GIB, "activations": 20 * GIB},
    )
    made = Prediction(
        rank=None,
        layout=KNOBS,
        step_time_s=10.0,
        interval_s=(9.0, 11.0),
        expected_step_time_s=10.0,
        goodput=1.0,
        tokens_per_s=104857.6,
        tokens_per_s_per_device=1638.4,
        mfu=0.45,
        hfu=0.46,
        model_tflops_per_device=445.0,
        flops_convention="causal_half",
        time=TimeBreakdown(8.0, 0.0, exposed, 0.0, 0.5),
        memory=memory,
        communication=(),
        flops_per_device=4e15,
        ranks=(),
    )
    return replace(made, **changes)
