"""What one prediction gains or loses against another, by component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.jobs.prediction import Prediction, TimeBreakdown
from planner.report.plan import AXIS_WORDS, MEMORY_WORDS
from planner.report.text import GIB, seconds

NEGLIGIBLE = 0.002
"""Of the step: smaller changes are left out of sentences."""


def time_parts(time: TimeBreakdown) -> dict[str, float]:
    """Every class of a step by name; they add up to it."""
    parts = {"compute": time.compute_s, "optimizer": time.optimizer_s}
    parts |= {f"exposed {axis}": value for axis, value in time.exposed.items()}
    return parts | {"host": time.host_s, "bubble": time.bubble_s}


def time_difference(base: Prediction, other: Prediction) -> dict[str, float]:
    """Seconds per class of ``other`` over ``base``; they add up to the difference of the steps."""
    before, after = time_parts(base.time), time_parts(other.time)
    return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {**before, **after}}


def memory_difference(base: Prediction, other: Prediction) -> dict[str, float]:
    """Bytes per memory class of ``other`` over ``base``."""
    before, after = base.memory.by_class, other.memory.by_class
    return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {**before, **after}}


def knob_difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Knobs that differ, with both values; ``grad_accum`` and ``dp`` stay out when another knob explains them."""
    names = [name for name in {**base, **other} if base.get(name) != other.get(name)]
    leading = [name for name in names if name not in ("grad_accum", "dp")]
    return {name: (base.get(name), other.get(name)) for name in (leading or names)}


def time_words(changes: Mapping[str, float], step_s: float, limit: int = 4) -> str:
    """The largest changes of a step in words: ``+0.21 s bubble, -50 ms exposed tp``."""
    large = sorted(
        (item for item in changes.items() if abs(item[1]) > NEGLIGIBLE * step_s),
        key=lambda item: -abs(item[1]),
    )
    return ", ".join(f"{signed_seconds(value)} {_word(name)}" for name, value in large[:limit]) or "no change"


def memory_words(changes: Mapping[str, float], limit: int = 3) -> str:
    """The largest changes of memory in words: ``+12.1 GiB activations kept for backward``."""
    large = sorted(
        (item for item in changes.items() if abs(item[1]) > 0.05 * GIB), key=lambda item: -abs(item[1])
    )
    parts = [f"{value / GIB:+,.1f} GiB {MEMORY_WORDS.get(name, name)}" for name, value in large[:limit]]
    return ", ".join(parts) or "no change"


def signed_seconds(value_s: float) -> str:
    """A difference of times with its sign."""
    if value_s == 0:
        return "±0"
    return f"{'+' if value_s > 0 else '-'}{seconds(abs(value_s))}"


def _word(name: str) -> str:
    axis = name.removeprefix("exposed ")
    return f"exposed {AXIS_WORDS[axis]}" if axis != name and axis in AXIS_WORDS else name
