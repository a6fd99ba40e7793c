"""The plain model: it holds the parameters that the graph counts, starts alike in every layout, and computes a decoder."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout
from planner.models.build import build_graph
from planner.models.spec import ModelSpec
from planner.validation.trainer.batches import micro_batches, sample, sequence_places
from planner.validation.trainer.groups import Groups, Members, single_process
from planner.validation.trainer.initial import fill, whole_values
from planner.validation.trainer.model.stage import Stage, build_stage, whole_model
from planner.validation.trainer.settings import Settings

BASE: dict[str, Any] = {"layers": 2, "hidden": 16, "heads": 4, "ffn_hidden": 24, "vocab": 40, "seq_len": 16}
LLAMA = {"kv_heads": 2, "gated_mlp": True, "activation": "silu"}
GPT = {"norm": "layer", "biases": "all", "positions": "learned", "tied_embeddings": True}
QWEN = LLAMA | {"qk_norm": "head_dim", "biases": "qkv"}
RANKS = {"kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 6}
MLA = {"gated_mlp": True, "mla": RANKS}
MLA_Q = {"gated_mlp": True, "mla": RANKS | {"q_lora_rank": 6}}
MODELS = {"llama": LLAMA, "gpt": GPT, "qwen": QWEN, "mla": MLA, "mla_q": MLA_Q}


def _settings(model: dict[str, Any], layout: Layout | None = None, **options: Any) -> Settings:
    spec = ModelSpec(**(BASE | model))
    return Settings(spec, layout or Layout(), load_framework("megatron-core"), 16, 2, double=True, **options)


def _filled(settings: Settings) -> Stage:
    stage = whole_model(settings, single_process()).to_empty(device="cpu")
    fill(stage, single_process(), settings.seed, tied=settings.model.tied_embeddings)
    return stage


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_of_the_graph(name: str) -> None:
    settings = _settings(MODELS[name])
    stage = whole_model(settings, single_process())
    count = sum(parameter.numel() for parameter in stage.parameters())
    assert count == build_graph(settings.model).parameter_count


@pytest.mark.parametrize("name", MODELS)
def test_later_tokens_change_nothing_before_them(name: str) -> None:
    stage = _filled(_settings(MODELS[name]))
    tokens = torch.arange(16)[None]
    changed = tokens.clone()
    changed[:, 10:] = 3
    before, after = stage(tokens), stage(changed)
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_small_weights_guess_evenly() -> None:
    """Near-zero logits: the loss of a step is close to ln(vocabulary)."""
    settings = _settings(LLAMA, Layout(micro_batches=2))
    stage = _filled(settings)
    batches = micro_batches(settings, single_process(), 0)
    loss = sum(float(stage.loss(stage(batch.tokens), batch.labels).detach()) for batch in batches)
    assert loss == pytest.approx(math.log(40), rel=0.05)


def test_values_depend_on_seed_and_name_alone() -> None:
    whole = _filled(_settings(LLAMA))
    last = build_stage(_settings(LLAMA), single_process(), [1], embedding=False, head=True).to_empty(
        device="cpu"
    )
    fill(last, single_process(), 0)
    parameters = dict(whole.named_parameters())
    for name, parameter in last.named_parameters():
        assert torch.equal(parameter, parameters[name])
    assert not torch.equal(whole_values("a", (4,), 0), whole_values("a", (4,), 1))


def test_tied_ends_start_equal_on_two_stages() -> None:
    settings = _settings(GPT)
    first, last = (
        build_stage(settings, single_process(), [i], embedding=i == 0, head=i == 1).to_empty(device="cpu")
        for i in range(2)
    )
    for stage in (first, last):
        fill(stage, single_process(), 0, tied=True)
    assert first.embedding is not None
    assert last.head is not None
    assert torch.equal(first.embedding.tokens.weight, last.head.output.weight)


def _on(ring: int, ulysses: int, place: tuple[int, int]) -> Groups:
    axes = dict(single_process().axes)
    for axis, size, index in (("ring", ring, place[0]), ("ulysses", ulysses, place[1])):
        axes[axis] = Members(tuple(range(size)), index)
    return Groups(0, axes, {})


@pytest.mark.parametrize("balance", ["zigzag", "contiguous"])
def test_context_ranks_share_out_every_token(balance: str) -> None:
    settings = _settings(LLAMA, Layout(ring=2, ulysses=2), cp_balance=balance)
    places = [sequence_places(settings, _on(2, 2, (r, u))) for r in range(2) for u in range(2)]
    assert sorted(torch.cat(places).tolist()) == list(range(16))
    if balance == "zigzag":  # rank 0 of the ring: chunks 0 and 3 of four
        assert torch.cat(places[:2]).tolist() == [0, 1, 2, 3, 12, 13, 14, 15]


def test_labels_are_the_next_tokens() -> None:
    settings = _settings(LLAMA)
    batch = micro_batches(settings, single_process(), 1)[0]
    whole = sample(settings, settings.global_batch)
    assert batch.tokens[0].tolist() == whole[:-1].tolist()
    assert batch.labels[0].tolist() == whole[1:].tolist()
