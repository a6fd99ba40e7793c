"""Published rates of attention kernels against the attention model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.costs.kernels import attention_seconds
from planner.hardware.loader import load_accelerator
from planner.hardware.types import Accelerator
from planner.validation.csv_rows import CsvRows
from planner.validation.kernels.formats import precision_of
from planner.validation.points import Comparison, Point, printed_half_width

PUBLISHED_BACKWARD = 2.5
"""Backward over forward FLOPs in published rates, whatever the kernel (arXiv 2307.08691, section 4.1)."""

MODELLED = ("flash", "cudnn", "unfused")
"""The kernels that the cost model tells apart; every other generation is priced as flash."""


def attention_points(rows: CsvRows) -> Comparison:
    """One point per row: seconds from the published rate, against forward, backward or both together."""
    widths = {
        key: printed_half_width([rows.columns["tflops"][row] for row in chosen])
        for key, chosen in _by_device_and_kernel(rows).items()
    }
    points = tuple(_point(rows, row, widths) for row in range(len(rows.lines)))
    others = sorted({kernel for kernel in rows.columns["kernel"] if kernel not in MODELLED})
    assumed = {rows.file.stem: f"{', '.join(others)} priced as flash"} if others else {}
    return Comparison(points, assumed)


def _by_device_and_kernel(rows: CsvRows) -> dict[tuple[str, str], list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(rows.columns["gpu"], rows.columns["kernel"], strict=True)):
        groups.setdefault(key, []).append(row)
    return groups


def _point(rows: CsvRows, row: int, widths: dict[tuple[str, str], float]) -> Point:
    cell = {name: values[row] for name, values in rows.columns.items()}
    passes = {"fwd": (1.0, 0.0), "bwd": (0.0, 1.0), "fwd_bwd": (1.0, 1.0)}[cell["direction"]]
    square = 4.0 * cell["batch"] * cell["heads"] * cell["head_dim"] * float(cell["seq_len"]) ** 2
    counted = (square / 2 if cell["mask"] else square) * (passes[0] + PUBLISHED_BACKWARD * passes[1])
    rate = cell["tflops"] * 1e12
    measured_s = counted / rate
    accelerator = load_accelerator(cell["gpu"])
    forward, backward = _seconds(cell, square, accelerator, precision_of(rows.file))
    mask = "causal" if cell["mask"] else "full"
    return Point(
        id=f"{rows.file.name}:{rows.lines[row]}",
        labels={
            "family": rows.file.stem,
            "accelerator": accelerator.name,
            "operator": f"attention {cell['kernel']} {cell['direction']}",
            "band": f"{mask}, head {cell['head_dim']}",
        },
        subject=f"{cell['seq_len']:,} tokens",
        measured_s=measured_s,
        half_width_s=measured_s * widths[cell["gpu"], cell["kernel"]] / cell["tflops"],
        predicted_s=passes[0] * forward + passes[1] * backward,
    )


def _seconds(
    cell: Mapping[str, Any], square: float, accelerator: Accelerator, precision: str
) -> tuple[float, float]:
    """Forward and backward seconds; an unfused kernel computes the whole square, a flash kernel what the mask leaves."""
    kernel = cell["kernel"] if cell["kernel"] in MODELLED else "flash"
    causal, keys = bool(cell["mask"]), float(cell["seq_len"])
    executed = square / 2 if causal and kernel != "unfused" else square
    scores = float(cell["batch"] * cell["heads"]) * keys * keys
    kernels = accelerator.kernels
    half = (kernels.attention_causal_half if causal else kernels.attention_full_half) / keys
    forward, backward = (
        float(
            attention_seconds(
                np.array([executed]),
                np.array([scores]),
                accelerator,
                precision,
                kernel,
                backward=part,
                half=half,
            )[0]
        )
        for part in (False, True)
    )
    return forward, backward
