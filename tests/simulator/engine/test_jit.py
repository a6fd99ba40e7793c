"""Kernels also run where nothing can be written."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.simulator.engine.jit import integers, jit


def test_a_function_that_cannot_be_cached_is_compiled_all_the_same() -> None:
    """A function without a source file has no place for a cache."""
    names: dict[str, Any] = {}
    exec("def twice(x):\n    return 2 * x\n", names)
    assert jit(names["twice"])(21) == 42


def test_arrays_come_in_one_type() -> None:
    shared = np.broadcast_to(np.int32(3), (4,))
    made = integers(shared)
    assert made.tolist() == [3, 3, 3, 3]
    assert made.dtype == np.int64
    assert made.flags.writeable
    assert integers(made) is made
