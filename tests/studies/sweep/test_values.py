"""Values of axes: ranges, factors, lists and distributions, against lists written by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.studies.sweep.fields import HARDWARE, LAYOUT, Field, find_field, job_fields, knob_fields
from planner.studies.sweep.values import Draw, parse_axis


@pytest.fixture(scope="module")
def fields() -> Mapping[str, Field]:
    figure = Field(f"{HARDWARE}memory_bandwidth", lambda value: float(str(value)))
    knobs = {field.path: field for field in knob_fields(LAYOUT)}
    return {**job_fields(None), **knobs, figure.path: figure}


@pytest.mark.parametrize(
    ("field", "text", "path", "values"),
    [
        ("devices", "64..512", "devices", (64, 128, 256, 512)),
        ("devices", "64..500", "devices", (64, 128, 256)),
        ("devices", "8..32:8,100", "devices", (8, 16, 24, 32, 100)),
        ("devices", "1..100:x3", "devices", (1, 3, 9, 27, 81)),
        ("seq_len", "4K..16K", "training.seq_len", (4096, 8192, 16384)),
        ("training.tokens", "1T,15T", "training.tokens", (10**12, 15 * 10**12)),
        ("memory_reserve", "0..0.2:0.05", "search.memory_reserve", (0.0, 0.05, 0.1, 0.15, 0.2)),
        ("price_per_device_hour", "2.5 USD/h", "cluster.price_per_device_hour", (2.5,)),
        ("memory_bandwidth", "x0.5..x2", "hardware.memory_bandwidth.factor", (0.5, 1.0, 2.0)),
        ("memory_bandwidth", "x1,x1.25", "hardware.memory_bandwidth.factor", (1.0, 1.25)),
        ("memory_bandwidth", "1e12..4e12", "hardware.memory_bandwidth", (1e12, 2e12, 4e12)),
        ("model", "llama3-8b,llama3-70b", "model", ("llama3-8b", "llama3-70b")),
        ("precision", ["bf16", "fp8"], "training.precision", ("bf16", "fp8")),
        ("capture", "true,[attn,mlp]", "training.capture", (True, ["attn", "mlp"])),
        ("search.allow.tp", "[1,2],[4]", "search.allow.tp", ([1, 2], [4])),
        ("layout.offload", "none,{optimizer: host}", "layout.offload", ("none", {"optimizer": "host"})),
        ("model.layers", "4,4,8", "model.layers", (4, 8)),
        ("devices", 16, "devices", (16,)),
    ],
)
def test_values(
    fields: Mapping[str, Field], field: str, text: object, path: str, values: tuple[object, ...]
) -> None:
    axis = parse_axis(find_field(field, fields), text)
    assert (axis.path, axis.values) == (path, values)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("seq_len", "x1..x2", "factors such as x0.5 are for hardware figures"),
        ("devices", "", "found no values"),
        ("devices", "64..8", "is empty"),
        ("devices", "-4", "cannot be negative"),
        ("devices", "64x", "not a whole number"),
        ("devices", "[1,2", "missing ']'"),
        ("devices", "1..1e9:1", "more than 1,000,000 values"),
        ("devices", "1..9:x1", "accepted: above 1"),
        ("devices", "uniform:1..9,4", "a distribution beside other values"),
        ("memory_reserve", "0..0.2", "doubling begins above 0"),
        ("memory_reserve", "log:0..0.2", "begins above 0"),
        ("precision", "fp7", "did you mean"),
        ("memory_bandwidth", "x0.5,1e12", "accepted: one kind"),
        ("memory_bandwidth", "x0", "above 0"),
        ("model", "lama3-8b", "did you mean 'llama3-8b'"),
        ("training.framework", "fsp", "did you mean 'fsdp'"),
        ("accelerator", "h100-sxm-80g", "did you mean"),
        ("price_per_device_hour", "2 GB", "does not measure usd/h"),
        ("layout.tp", "1.5", "not a whole number"),
        ("layout.recompute", "sometimes", "is unknown"),
        ("overlap.bucket_bytes", "0", "greater than zero"),
    ],
)
def test_faulty_values_are_one_line_that_names_the_field(
    fields: Mapping[str, Field], field: str, text: str, words: str
) -> None:
    with pytest.raises(PlannerError, match=re.escape(words)) as caught:
        parse_axis(find_field(field, fields), text)

    assert caught.value.field == f"--over {find_field(field, fields).path}"
    assert "\n" not in str(caught.value)


@given(
    low=st.floats(1e-3, 1e3),
    ratio=st.floats(1, 1e3),
    logarithmic=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_draws_stay_between_the_ends(low: float, ratio: float, logarithmic: bool, seed: int) -> None:
    draw = Draw(low, low * ratio, logarithmic, whole=False)
    value = draw.sample(Random(seed))
    assert low * (1 - 1e-9) <= value <= low * ratio * (1 + 1e-9)


@given(
    low=st.integers(1, 100), span=st.integers(0, 1000), step=st.integers(1, 50), seed=st.integers(0, 2**32)
)
def test_stepped_draws_of_whole_numbers_are_on_the_steps(low: int, span: int, step: int, seed: int) -> None:
    value = Draw(low, low + span, logarithmic=False, whole=True, step=step).sample(Random(seed))
    assert isinstance(value, int)
    assert low <= value <= low + span
    assert (value - low) % step == 0


def test_logarithmic_draws_are_as_often_below_the_geometric_middle_as_above() -> None:
    dice = Random(1)
    values = [Draw(1.0, 100.0, logarithmic=True, whole=False).sample(dice) for _ in range(4000)]
    below = sum(value < 10.0 for value in values)
    # Binomial with n = 4000, p = 1/2: five standard deviations are 5 sqrt(1000).
    assert abs(below - 2000) < 5 * math.sqrt(1000)
