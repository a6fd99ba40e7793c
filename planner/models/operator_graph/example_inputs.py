"""Inputs of a model told as text: ``int64[8,128]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.errors import PlannerError, suggest
from planner.models.operator_graph.types import DTYPE_BYTES

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class InputShape:
    """Element type (PyTorch's name) and lengths of one input."""

    dtype: str
    shape: tuple[int, ...]


def parse_input(text: str) -> InputShape:
    """``int64[8,128]`` -> its element type and lengths; ``float32[]`` is a scalar.

    Raises:
        PlannerError: another form, an unknown element type, a length below one.
    """
    match = re.fullmatch(r"\s*([a-z0-9_]+)\s*\[([\d\s,]*)\]\s*", text)
    if match is None:
        raise PlannerError(
            f"found {text!r}; accepted: an element type and lengths, as int64[8,128]", field="input"
        )
    dtype, lengths = match.groups()
    if dtype not in DTYPE_BYTES:
        raise PlannerError(f"unknown element type {dtype!r}; {suggest(dtype, DTYPE_BYTES)}", field="input")
    parts = [part.strip() for part in lengths.split(",")] if lengths.strip() else []
    if not all(part.isdigit() for part in parts):
        raise PlannerError(f"found {text!r}; lengths are numbers between commas", field="input")
    shape = tuple(int(part) for part in parts)
    if 0 in shape:
        raise PlannerError(f"found {text!r}; every length is at least 1", field="input")
    return InputShape(dtype, shape)


def example_tensors(
    shapes: Sequence[InputShape], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """Tensors of these shapes on a device: zeros for integers (a valid index of any table), ones for the rest.

    Raises:
        PlannerError: they do not fit into memory.
    """
    try:
        return _made(shapes, device)
    except (RuntimeError, MemoryError):
        raise PlannerError("inputs of these lengths do not fit into memory", field="input") from None


def _made(shapes: Sequence[InputShape], device: torch.device | str) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(
        (torch.zeros if shape.dtype.startswith(("int", "uint", "bool")) else torch.ones)(
            shape.shape, dtype=getattr(torch, shape.dtype), device=device
        )
        for shape in shapes
    )
