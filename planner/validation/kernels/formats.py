"""The tables of measured kernels that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.errors import suggest
from planner.validation.collectives.csv_table import NVLINK
from planner.validation.csv_rows import Cell, count, microseconds, word
from planner.validation.devices import accelerator_named

DIRECTIONS = ("fwd", "bwd", "fwd_bwd")
GENERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "unfused": "unfused",
        "fa1": "flash1",
        "fa2": "flash2",
        "fa3": "flash3",
        "fa4": "flash4",
        "triton": "triton",
        "cudnn": "cudnn",
        "splash": "splash",
    }
)
"""Spellings of the tables for the generations of attention kernels."""

LARGEST_TFLOPS = 1e5

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4", "int8")


def device(text: str) -> str:
    """The catalogue's name of the accelerator in a cell."""
    return _as_value_error(accelerator_named, text)


def direction(text: str) -> str:
    """Forward, backward, or both."""
    return _one_of(text, DIRECTIONS)


def generation(text: str) -> str:
    """The attention kernel's generation."""
    return _one_of(text, tuple(GENERATIONS))


def generation_named(text: str) -> str:
    """The cost model's name of a generation in a table."""
    return GENERATIONS[text]


def mask(text: str) -> bool:
    """Whether the mask is causal."""
    return _one_of(text, ("causal", "none")) == "causal"


def teraflops(text: str) -> float:
    """A rate in TFLOP/s."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < LARGEST_TFLOPS:
        raise ValueError(f"found '{text[:60]}'; a rate above 0 TFLOP/s is accepted")
    return value


FORMATS: Mapping[str, Mapping[str, Cell]] = MappingProxyType(
    {
        "matmul": {"gpu": device, "m": count, "n": count, "k": count, "time_us": microseconds},
        "memory_bound": {"gpu": device, "op": word, "bytes_moved": count, "time_us": microseconds},
        "attention": {
            "gpu": device,
            "kernel": generation,
            "direction": direction,
            "mask": mask,
            "batch": count,
            "heads": count,
            "head_dim": count,
            "seq_len": count,
            "tflops": teraflops,
        },
        "collectives": NVLINK,
    }
)
"""By name: headings and their cells. TFLOP/s of attention count 4·batch·heads·seq_len²·head_dim forward, half of it when
causal, and 2.5 times that backward (FlashAttention's convention, arXiv 2307.08691 section 4.1)."""


def precision_of(file: Path) -> str:
    """The precision that a file's name ends on (``gemm_bf16.csv``), fp16 where it names none."""
    ending = file.stem.rsplit("_", 1)[-1].lower()
    return ending if ending in PRECISIONS else "fp16"


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ValueError(f"found '{text[:60]}': {suggest(text[:60], choices)}")
    return text


def _as_value_error(read: Any, text: str) -> str:
    from planner.errors import PlannerError

    try:
        return str(read(text))
    except PlannerError as error:
        raise ValueError(error.message) from None
