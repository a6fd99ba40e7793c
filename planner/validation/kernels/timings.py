"""Tables of measured kernels as arrays that can be priced again and again, with other constants each time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from planner.costs.kernels import FloatArray, matmul_seconds, memory_bound_seconds
from planner.errors import PlannerError
from planner.validation.csv_rows import CsvRows
from planner.validation.kernels.attention import attention_timings
from planner.validation.kernels.formats import precision_of
from planner.validation.kernels.timed import AcceleratorOf, Timings, rows_by
from planner.validation.points import printed_half_width

LARGE_M = 512
"""Rows of a matmul from which whole tiles fill the device; training runs above it, decoding below."""

SMALL_IMPORTANCE = 0.2
"""Of a matmul of fewer rows in a fit: training has hardly any."""

_OPERATORS = (
    ("norm", "norm"),
    ("act", "activation"),
    ("gelu", "activation"),
    ("silu", "activation"),
    ("add", "add"),
)
"""What a published operator is, by a part of its name."""


def timings_of(rows: CsvRows) -> Timings:
    """The measurements of a table of kernels.

    Raises:
        PlannerError: a device lacks the precision of the table.
    """
    if rows.kind == "attention":
        return attention_timings(rows)
    return _matmuls(rows) if rows.kind == "matmul" else _memory_bound(rows)


def eager_operator(name: str) -> str | None:
    """The unfused operator whose efficiency holds for a published name; None: none of those that are told apart."""
    return next((operator for part, operator in _OPERATORS if part in name.lower()), None)


def _timed(
    rows: CsvRows,
    labels: Sequence[tuple[str, str]],
    subjects: Sequence[str],
    folds: Sequence[Hashable],
    price: Callable[[AcceleratorOf], FloatArray],
    importance: FloatArray | float = 1.0,
) -> Timings:
    times = np.array(rows.columns["time_us"], dtype=np.float64)
    widths = np.zeros_like(times)
    for chosen in rows_by(rows.columns["gpu"]).values():
        widths[chosen] = printed_half_width(times[chosen])
    return Timings(
        rows=rows,
        devices=tuple(rows.columns["gpu"]),
        measured_s=times * 1e-6,
        half_width_s=widths * 1e-6,
        labels=tuple(labels),
        subjects=tuple(subjects),
        folds=tuple(folds),
        price=price,
        importance=importance,
    )


def _matmuls(rows: CsvRows) -> Timings:
    m, n, k = (np.array(rows.columns[name], dtype=np.float64) for name in ("m", "n", "k"))
    precision = precision_of(rows.file)
    devices = rows_by(rows.columns["gpu"])

    def price(accelerator_of: AcceleratorOf) -> FloatArray:
        seconds = np.zeros(len(m))
        for name, of in devices.items():
            try:
                seconds[of] = matmul_seconds(m[of], n[of], k[of], accelerator_of(name), precision)
            except PlannerError as error:
                raise rows.fault(int(of[0]), "gpu", error.message) from None
        return seconds

    bands = [f"m >= {LARGE_M}" if large else f"m < {LARGE_M}" for large in m >= LARGE_M]
    subjects = [f"m {a:.0f}, n {b:.0f}, k {c:.0f}" for a, b, c in zip(m, n, k, strict=True)]
    folds = list(zip(n, k, strict=True))
    importance = np.where(m >= LARGE_M, 1.0, SMALL_IMPORTANCE)
    return _timed(rows, [("matmul", band) for band in bands], subjects, folds, price, importance)


def _memory_bound(rows: CsvRows) -> Timings:
    nbytes = np.array(rows.columns["bytes_moved"], dtype=np.float64)
    names = [str(name) for name in rows.columns["op"]]
    groups = rows_by(list(zip(rows.columns["gpu"], names, strict=True)))

    def price(accelerator_of: AcceleratorOf) -> FloatArray:
        seconds = np.zeros(len(nbytes))
        for (device, name), chosen in groups.items():
            operator = eager_operator(name)
            seconds[chosen] = memory_bound_seconds(nbytes[chosen], accelerator_of(device), operator=operator)
        return seconds

    subjects = [f"{value:,.0f} bytes" for value in nbytes]
    return _timed(rows, [(name, "all sizes") for name in names], subjects, list(nbytes), price)
