"""Seconds from what sources print: rates, and FLOP/s under a stated convention."""

from __future__ import annotations

import pytest

from planner.validation.runs.measured import convention_of, measured_seconds
from planner.validation.runs.refusal import Refused
from tests.validation.runs.samples import expressed, predicted, row

SC21 = "sc21-tab1-1.7b"


def test_a_printed_step_time_wins() -> None:
    assert predicted()["korthikanti22-tab5-22b-full"].measured_s == 1.42


def test_tokens_per_second() -> None:
    """8 devices, batch 4 of 2,048 tokens: 1,024 tokens per device and step."""
    identity = "korthikanti22-tab5-22b-full"
    job = expressed(identity).variants[0].job
    changed = row(identity, measured={"step_time_s": ..., "tokens_per_s_per_device": 512.0})
    assert measured_seconds(changed, job) == pytest.approx(2.0)
    changed = row(identity, measured={"step_time_s": ..., "samples_per_s": 8.0})
    assert measured_seconds(changed, job) == pytest.approx(0.5)


def test_hardware_flops_of_the_paper() -> None:
    """arXiv 2104.04473, equation 3, for l 24, h 2304, s 2048, V 51200, B 512 on 32 A100 at 137 TFLOP/s each."""
    layers, h, s, vocab, batch = 24, 2304, 2048, 51200, 512
    flops = 96 * batch * s * layers * h**2 * (1 + s / (6 * h) + vocab / (16 * layers * h))
    assert predicted()[SC21].measured_s == pytest.approx(flops / (137e12 * 32))


def test_utilisation_agrees_with_the_printed_rate() -> None:
    """The paper prints 137 TFLOP/s and 44 % of 312: the same step within the rounding of two digits."""
    job = expressed(SC21).variants[0].job
    changed = row(SC21, measured={"hardware_tflops_per_device": ...})
    assert measured_seconds(changed, job) == pytest.approx(predicted()[SC21].measured_s, rel=0.5 / 44 + 0.005)


def test_flops_without_a_convention_are_refused() -> None:
    outcome = next(o for o in predicted().values() if o.row.family == "moefold")
    assert outcome.predicted_s is not None
    assert outcome.measured_s is None
    assert outcome.not_scored == "measured: FLOP/s without a stated convention"
    changed = row(SC21, measured={"hardware_tflops_per_device": ..., "hfu": ..., "mfu": 0.4})
    with pytest.raises(Refused):
        measured_seconds(changed, expressed(SC21).variants[0].job)


def test_nothing_measured_is_no_refusal() -> None:
    job = expressed(SC21).variants[0].job
    changed = row(SC21, measured={"hardware_tflops_per_device": ..., "hfu": ...})
    assert measured_seconds(changed, job) is None


@pytest.mark.parametrize(
    ("words", "convention"),
    [
        ("nemo_noncausal", "full_square"),
        ("mcore_causal", "causal_half"),
        ("nanoGPT/PaLM MFU (6N + 12LHQT, no causal halving)", "full_square"),
        ("Megatron SC21 formula with activation recompute (factor 4)", "megatron_hardware"),
        ("unstated; bf16 peak 989", None),
        (None, None),
    ],
)
def test_conventions_by_their_words(words: str | None, convention: str | None) -> None:
    assert convention_of(words) == convention
