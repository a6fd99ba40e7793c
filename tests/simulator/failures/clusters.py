"""Five jobs from 512 to 100,000 devices that the tests of failures share."""

from __future__ import annotations

from planner.simulator.failures.model import FailureModel

DAY_S = 86400.0

H100_MTBF_S = 16_384 * 54 * DAY_S / 419
"""Llama 3 herd (arXiv 2407.21783): 419 unexpected interruptions of 16,384 GPUs in 54 days."""

SIZES = (512, 2048, 8192, 24576, 100_000)


def job(devices: int, **changes: float) -> FailureModel:
    """Eight devices per node, checkpoint 30 s, detection 10 min, restart 5 min, spares for every failure."""
    settings = {
        "device_mtbf_s": H100_MTBF_S,
        "checkpoint_s": 30.0,
        "detect_s": 600.0,
        "restart_s": 300.0,
        "devices_per_node": 8,
    }
    return FailureModel(devices=devices, **{**settings, **changes})  # type: ignore[arg-type]
