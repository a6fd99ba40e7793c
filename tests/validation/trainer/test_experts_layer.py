"""The layer of experts on one process: routes, grouped products, weights of the router, balanced routing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout
from planner.models.parts import Moe as MoeSpec
from planner.models.spec import ModelSpec
from planner.validation.trainer.experts.grouped import grouped_linear
from planner.validation.trainer.experts.routes import balanced_choice, balanced_routes, learned_routes
from planner.validation.trainer.experts.rows import regrouped
from planner.validation.trainer.groups import Groups, Members, single_process
from planner.validation.trainer.initial import fill
from planner.validation.trainer.model.moe import Moe
from planner.validation.trainer.settings import Settings


def _settings(routing: str = "learned", **moe: object) -> Settings:
    experts = MoeSpec(**({"experts": 4, "topk": 2, "moe_ffn": 8} | moe))
    spec = ModelSpec(layers=1, hidden=16, heads=2, vocab=16, gated_mlp=True, activation="silu", moe=experts)
    settings = Settings(spec, Layout(), load_framework("megatron-core"), 8, 2, double=True)
    return replace(settings, routing=routing)


def _layer(settings: Settings) -> Moe:
    module = Moe(settings, single_process(), 0).double()
    fill(module, single_process(), seed=3)
    return module


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_a_token_gets_the_weighted_sum_of_its_best_experts(score: str) -> None:
    """Expert by expert and token by token, as the papers write it."""
    layer = _layer(_settings(score=score, shared_experts=1, shared_gate=True))
    x = torch.randn(2, 8, 16, dtype=torch.float64)
    logits = (x @ layer.router.weight.t()).detach()
    scores = logits.exp() if score == "softmax" else 1 / (1 + (-logits).exp())
    expected = torch.zeros_like(x)
    for token in [(sample, place) for sample in range(2) for place in range(8)]:
        best = sorted(range(4), key=lambda expert, token=token: float(scores[*token, expert]))[2:]
        total = sum(scores[*token, expert] for expert in best)
        for expert in best:
            gate, up = layer.experts.up[expert] @ x[token]
            answer = layer.experts.down[expert] @ (functional.silu(gate) * up)
            expected[token] += scores[*token, expert] / total * answer
        shared = layer.shared_experts
        inner = functional.silu(shared.gate.weight @ x[token]) * (shared.up.weight @ x[token])
        logit = layer.shared_gate.weight @ x[token]
        expected[token] += shared.down.weight @ inner / (1 + (-logit).exp())
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=0.0)


def test_grouped_products_and_their_gradients() -> None:
    """Against one dense product per expert; the second expert has no row."""
    counts = [3, 0, 2]
    rows = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: grouped_linear(*given, counts), (rows, weights))
    expected = torch.cat([rows[:3] @ weights[0].t(), rows[3:] @ weights[2].t()])
    torch.testing.assert_close(grouped_linear(rows, weights, counts), expected)


def test_routes_of_one_process() -> None:
    chosen = torch.tensor([[2, 0], [0, 3]])
    routes = learned_routes(chosen, 4, single_process())
    assert routes.order.tolist() == [1, 2, 0, 3]
    assert (routes.sent, routes.counts) == ((4,), (2, 0, 1, 1))


def test_balanced_routes_are_known_without_a_word() -> None:
    """3 tokens x top-2 over 4 experts on ep 2: the first two experts get one more, from every rank."""
    axes = single_process().axes | {"ep": Members((0, 1), 1), "etp": Members((0, 2), 0)}
    chosen = balanced_choice(3, 2, 4, torch.device("cpu"))
    routes = balanced_routes(chosen, 4, Groups(1, axes, {}))
    assert chosen.tolist() == [[0, 1], [2, 3], [0, 1]]
    assert (routes.sent, routes.received(0)) == ((4, 2), (2, 2))
    assert (routes.arrived, routes.counts) == ((4, 4), (4, 4))


def test_blocks_are_laid_by_expert_and_back() -> None:
    rows = torch.arange(6.0).view(6, 1)
    sizes = ((1, 2), (2, 1))
    by_expert = regrouped(rows, sizes)
    assert by_expert.flatten().tolist() == [0.0, 3.0, 4.0, 1.0, 2.0, 5.0]
    assert torch.equal(regrouped(by_expert, tuple(zip(*sizes, strict=True))), rows)


def test_balanced_layers_run_on_fake_tensors() -> None:
    """Nothing depends on values: the sizes of all rows are known."""
    settings = _settings("balanced", shared_experts=1)
    with FakeTensorMode():
        layer = Moe(settings, single_process(), 0)
        x = torch.empty(2, 8, 16, requires_grad=True)
        layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (2, 8, 16)
    assert all(parameter.grad is not None for parameter in layer.parameters())
