"""Errors in a few numbers: absolute percentage errors, bias, rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorSummary:
    """Errors are predicted / measured - 1; ``bias`` is their median, the others are of their absolute values."""

    median_ape: float
    mean_ape: float
    p90_ape: float
    bias: float


def summarise(errors: Sequence[float]) -> ErrorSummary | None:
    """The summary, None without errors."""
    if not errors:
        return None
    signed = np.asarray(errors, dtype=np.float64)
    size = np.abs(signed)
    return ErrorSummary(
        float(np.median(size)),
        float(np.mean(size)),
        float(np.percentile(size, 90)),
        float(np.median(signed)),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b (Kendall 1945): pairs in the same order less pairs in the other, ties taken out.

    None when one of the two does not tell its values apart.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    upper = np.triu_indices(len(a), 1)
    one = np.sign(a[:, None] - a[None, :])[upper]
    two = np.sign(b[:, None] - b[None, :])[upper]
    pairs = np.sqrt(np.count_nonzero(one)) * np.sqrt(np.count_nonzero(two))
    return None if pairs == 0 else float(np.sum(one * two) / pairs)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there, None without any."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
