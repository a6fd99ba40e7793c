"""Compilation of kernels. Import it inside functions only: numba takes long to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray


def jit(function: Callable[..., Any]) -> Any:
    """The function compiled at its first call, and kept on disk for later runs where that is possible.

    numba's cache watches the file of the outermost function alone, so what a kernel calls stands in its own file.
    """
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(function)


def integers(values: ArrayLike) -> NDArray[np.int64]:
    """Values in the one array type that kernels are compiled for (contiguous, writeable), copied only if they must be."""
    return np.require(values, np.int64, ["C", "W"])
