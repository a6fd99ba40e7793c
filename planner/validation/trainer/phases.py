"""Which part of a step runs now: named by the step where autograd cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Phase = Literal["forward", "backward", "recompute", "optimizer"]

_STATED: ContextVar[Phase | None] = ContextVar("stated phase", default=None)


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """Everything inside belongs to this part of the step, whatever autograd does meanwhile."""
    token = _STATED.set(name)
    try:
        yield
    finally:
        _STATED.reset(token)


def current_phase() -> Phase:
    """The part of the step that runs now.

    As stated by ``phase``; else backward while autograd's engine runs, recompute when a checkpoint repeats its forward
    there (its hooks for saved tensors are active then), and forward everywhere else.
    """
    import torch

    stated = _STATED.get()
    if stated is not None:
        return stated
    if torch._C._current_graph_task_id() == -1:
        return "forward"
    repeated = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    return "recompute" if repeated else "backward"
