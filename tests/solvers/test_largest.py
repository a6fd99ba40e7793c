"""The largest value that fits is the last one that does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.solvers.largest import deepened, largest


def make(model: str, **training: object) -> Job:
    section = {"global_batch": 8, **training}
    return load_job({"model": model, "cluster": "a100-superpod", "devices": 8, "training": section})


def test_the_next_sequence_does_not_fit() -> None:
    job = make("llama3-8b", seq_len=4096)
    layout = parse_layout("tp=8,recompute=full", job)
    result = largest(job, "seq_len", layout)

    def fits(seq_len: int) -> bool:
        return predict(replace(job, training=replace(job.training, seq_len=seq_len)), layout).memory.fits

    assert result.largest % result.granule == 0
    assert fits(result.largest)
    assert not fits(result.largest + result.granule)
    assert result.limited_by == "memory"


def test_learned_positions_end_the_sequence() -> None:
    # OPT has 2,048 learned positions for tokens (Zhang et al. 2022).
    job = make("opt-1.3b", seq_len=512)
    result = largest(job, "seq_len", parse_layout("zero_stage=1", job))
    assert result.largest <= 2050
    assert result.limited_by == "the model's learned positions"


def test_the_batch_follows_the_micro_batch() -> None:
    job = make("llama3-8b", seq_len=2048)
    layout = parse_layout("tp=4,pp=2,recompute=full", job)
    result = largest(job, "micro_batch", layout)
    assert result.prediction.layout["micro_batch"] == result.largest
    assert result.prediction.layout["grad_accum"] == layout.micro_batches


def test_more_recompute_and_offload_never_fit_less() -> None:
    job = make("llama3-8b", seq_len=4096)
    result = largest(job, "layers", parse_layout("tp=4,pp=2,zero_stage=1", job))
    gained = {(item.knob, item.value): item.largest for item in result.relaxed}
    assert gained["recompute", "full"] >= result.largest
    assert gained["offload.activations", "host"] >= result.largest
    assert all(item.largest % 2 == 0 for item in result.relaxed if item.knob not in ("pp", "tp"))


@pytest.mark.parametrize(
    ("model", "layers", "tail"),
    [
        # Two equal kinds alternate in Gemma 2: the pattern goes on.
        ("gemma2-9b", 44, 2),
        ("llama3-8b", 3, 1),
    ],
)
def test_a_deeper_model_repeats_its_pattern(model: str, layers: int, tail: int) -> None:
    job = make(model, seq_len=4096)
    order = deepened(job, layers)
    stack = [name for name in order if job.model.blocks[name].kind == "layer"]
    assert len(stack) == layers
    assert stack[-tail:] == stack[-2 * tail : -tail]
    assert order[0] == job.model.order[0]
    assert order[-1] == job.model.order[-1]


def test_two_stacks_have_no_single_depth() -> None:
    with pytest.raises(PlannerError, match="more than one stack"):
        deepened(make("t5-base", seq_len=512), 30)


def test_nothing_fits_is_an_answer_of_its_own() -> None:
    job = make("llama3-70b", seq_len=4096)
    with pytest.raises(NoAnswerError, match="GiB are missing"):
        largest(job, "seq_len", parse_layout("", job))


def test_a_listed_partition_fixes_the_depth() -> None:
    job = make("llama3-8b", seq_len=4096)
    with pytest.raises(PlannerError, match="layers per stage"):
        largest(job, "layers", parse_layout("pp=2,layers_per_stage=15+17", job))
