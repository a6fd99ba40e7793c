"""Seconds per call of something, over one short window of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

FLUSHED_BYTES = 256 * 2**20
"""Written between windows on a GPU, more than any last-level cache holds: a training step finds its operands in HBM."""

WARM_UPS = 2


def warm_up(call: Callable[[], Any], device: str) -> None:
    """Let libraries choose their kernels and caches of memory fill."""
    for _ in range(WARM_UPS):
        call()
    if device != "cpu":
        torch.cuda.synchronize()


def window(call: Callable[[], Any], seconds: float, device: str, calls: int | None = None) -> float:
    """Seconds per call: the host's clock on cpu, events around a run of calls on cuda.

    Args:
        seconds: that the window lasts at least; one call at least.
        calls: how many instead, where other ranks must make as many.
    """
    if device != "cpu":
        return _on_device(call, calls or max(int(seconds / max(_once(call), 1e-6)), 1))
    done, started = 0, time.perf_counter()
    while True:
        call()
        done += 1
        taken = time.perf_counter() - started
        if done == calls or (calls is None and taken >= seconds):
            return taken / done


def _once(call: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def _on_device(call: Callable[[], Any], calls: int) -> float:
    torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device="cuda").zero_()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    for _ in range(calls):
        call()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / calls * 1e-3
