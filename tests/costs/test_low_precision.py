"""Tensors of matmuls in 8 bits or fewer: how they travel over tp, and what their casts move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.kernels import cast_seconds
from planner.costs.prices import price_model
from planner.costs.transfers import Transfer
from planner.hardware.accelerators import load_accelerator
from planner.jobs.inline import build_job
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts

WIDE = {"layers": 2, "hidden": 4096, "heads": 32, "ffn_hidden": 16384, "vocab": 32000}
TOKENS = 4096
ELEMENTS = TOKENS * 4096
"""Of one gathered input or output of a layer."""


def job(precision: str, framework: str = "megatron-core") -> Job:
    return build_job(
        WIDE,
        "gb200-nvl72",
        8,
        training={"global_batch": 8, "seq_len": TOKENS, "precision": precision},
        framework=framework,
    )
