"""Published rates of attention kernels as timings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels import FloatArray, attention_seconds
from planner.costs.kernels.attention import UNFUSED
from planner.hardware.types import Accelerator
from planner.validation.csv_rows import CsvRows
from planner.validation.kernels.formats import generation_named, precision_of
from planner.validation.kernels.timed import AcceleratorOf, Timings, rows_by
from planner.validation.points import printed_half_width

PUBLISHED_BACKWARD = 2.5
"""Backward over forward FLOPs in published rates, whatever the kernel (arXiv 2307.08691, section 4.1)."""

_PASSES = {"fwd": (1.0, 0.0), "bwd": (0.0, 1.0), "fwd_bwd": (1.0, 1.0)}


def attention_timings(rows: CsvRows) -> Timings:
    """Seconds from the published rates, against forward, backward or both together."""
    columns = rows.columns
    keys, square, scores = _sizes(rows)
    causal = np.array(columns["mask"], dtype=bool)
    passes = np.array([_PASSES[direction] for direction in columns["direction"]])
    counted = np.where(causal, square / 2, square) * (passes[:, 0] + PUBLISHED_BACKWARD * passes[:, 1])
    rates = np.array(columns["tflops"], dtype=np.float64)
    measured = counted / (rates * 1e12)
    widths = np.zeros(len(rates))
    for chosen in rows_by(list(zip(columns["gpu"], columns["kernel"], strict=True))).values():
        widths[chosen] = printed_half_width(rates[chosen])
    alike = rows_by(
        list(zip(columns["gpu"], columns["kernel"], columns["mask"], columns["head_dim"], strict=True))
    )
    precision = precision_of(rows.file)

    def price(accelerator_of: AcceleratorOf) -> FloatArray:
        seconds = np.zeros(len(rates))
        for (device, kernel, masked, width), chosen in alike.items():
            sizes = (square[chosen], scores[chosen], keys[chosen])
            both = _both(accelerator_of(device), precision, generation_named(kernel), masked, width, sizes)
            seconds[chosen] = (passes[chosen] * both).sum(axis=1)
        return seconds

    return Timings(
        rows=rows,
        devices=tuple(columns["gpu"]),
        measured_s=measured,
        half_width_s=measured * widths / rates,
        labels=tuple(_labels(rows)),
        subjects=tuple(f"{length:,.0f} tokens" for length in keys),
        folds=tuple(keys),
        price=price,
    )


def _sizes(rows: CsvRows) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Keys, forward FLOPs over the square, scores."""
    batch, heads, width, keys = (
        np.array(rows.columns[name], dtype=np.float64) for name in ("batch", "heads", "head_dim", "seq_len")
    )
    scores = batch * heads * keys**2
    return keys, 4.0 * scores * width, scores


def _labels(rows: CsvRows) -> list[tuple[str, str]]:
    names = ("kernel", "direction", "mask", "head_dim")
    return [
        (f"attention {kernel} {direction}", f"{'causal' if masked else 'full'}, head {width}")
        for kernel, direction, masked, width in zip(*(rows.columns[name] for name in names), strict=True)
    ]


def _both(
    accelerator: Accelerator,
    precision: str,
    kernel: str,
    causal: bool,
    width: float,
    sizes: tuple[FloatArray, FloatArray, FloatArray],
) -> NDArray[Any]:
    """Forward and backward seconds, shape (rows, 2); an unfused kernel computes the whole square, others what the mask
    leaves."""
    square, scores, keys = sizes
    executed = square / 2 if causal and kernel != UNFUSED else square
    parts = [
        attention_seconds(
            executed,
            scores,
            accelerator,
            precision,
            kernel,
            backward=backward,
            tokens=keys,
            causal=causal,
            head_dim=float(width),
        )
        for backward in (False, True)
    ]
    return np.stack(parts, axis=1)
