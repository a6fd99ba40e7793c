"""Differences by component add up and are told in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report.difference import (
    knob_difference,
    memory_difference,
    memory_words,
    signed_seconds,
    time_difference,
    time_parts,
    time_words,
)
from tests.report.samples import GIB, KNOBS, prediction

TIMES = st.floats(0, 100)


def test_parts_add_up_to_the_step() -> None:
    assert sum(time_parts(prediction().time).values()) == pytest.approx(10.0)


@given(TIMES, TIMES, TIMES)
def test_differences_add_up_to_the_difference_of_the_steps(compute: float, tp: float, bubble: float) -> None:
    base = prediction()
    time = replace(base.time, compute_s=compute, exposed={**base.time.exposed, "tp": tp}, bubble_s=bubble)
    other = replace(base, time=time, step_time_s=compute + tp + bubble)
    assert sum(time_difference(base, other).values()) == pytest.approx(other.step_time_s - 10.0, abs=1e-9)


def test_words_name_the_largest_first() -> None:
    changes = {"compute": -0.5, "exposed tp": 1.2, "bubble": 0.001, "host": 0.0}
    assert time_words(changes, 10.0) == "+1.20 s exposed tensor parallel, -500 ms compute"
    assert time_words({}, 10.0) == "no change"
    assert memory_words({"activations": 12.5 * GIB, "logits": -GIB}) == (
        "+12.5 GiB activations kept for backward, -1.0 GiB logits and loss"
    )
    assert signed_seconds(0.0) == "±0"


def test_memory_difference_covers_classes_of_either() -> None:
    base = prediction()
    other = replace(base, memory=replace(base.memory, by_class={"parameters": 10 * GIB, "logits": 2 * GIB}))
    assert memory_difference(base, other) == {
        "parameters": -5 * GIB,
        "optimizer": -20 * GIB,
        "activations": -20 * GIB,
        "logits": 2 * GIB,
    }


def test_what_follows_from_a_knob_is_not_named() -> None:
    other = {**KNOBS, "pp": 2, "dp": 4, "grad_accum": 32}
    assert knob_difference(KNOBS, other) == {"pp": (4, 2)}
    assert knob_difference(KNOBS, {**KNOBS, "grad_accum": 32}) == {"grad_accum": (64, 32)}
