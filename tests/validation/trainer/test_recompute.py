"""Recompute changes what runs, never a gradient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout, Recompute
from planner.models.spec import ModelSpec
from planner.validation.trainer.groups import single_process
from planner.validation.trainer.initial import fill
from planner.validation.trainer.model.stage import Stage, whole_model
from planner.validation.trainer.recompute import apply_recompute, repeat_whole
from planner.validation.trainer.settings import Settings

TOKENS, WIDTH = 4, 8
MATMUL = 2 * TOKENS * WIDTH * WIDTH


def _layers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Tanh(), nn.Linear(WIDTH, WIDTH, bias=False))
        for _ in range(3)
    ]


def _run(change: Callable[[list[nn.Module]], None]) -> tuple[int, list[Tensor]]:
    layers = _layers()
    change(layers)
    stream = torch.ones(TOKENS, WIDTH, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = stream
        for layer in layers:
            out = layer(out)
        out.sum().backward()
    return counter.get_total_flops(), [
        p.grad for layer in layers for p in layer.parameters() if p.grad is not None
    ]


@pytest.mark.parametrize(("stops_early", "repeated"), [(True, 3), (False, 6)])
def test_repeats_the_layers_matmuls_and_changes_no_gradient(stops_early: bool, repeated: int) -> None:
    plain, expected = _run(lambda layers: None)
    flops, found = _run(lambda layers: repeat_whole(layers, stops_early=stops_early))
    # a layer has two matmuls; stopping early leaves the last one out, whose output no gradient needs
    assert flops - plain == repeated * MATMUL
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class _Operators(TorchDispatchMode):
    """Counts operators that really run, below the policy's cache."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def _settings(framework: str, recompute: Recompute, **layout: Any) -> Settings:
    spec = ModelSpec(
        layers=3,
        hidden=8,
        heads=2,
        ffn_hidden=12,
        vocab=16,
        norm="rms",
        positions="rope",
        gated_mlp=True,
        activation="silu",
    )
    plan = Layout(recompute=recompute, **layout)
    return Settings(spec, plan, load_framework(framework), 8, 1, double=True)


def _model(settings: Settings) -> Stage:
    model = whole_model(settings, single_process())
    apply_recompute([model], settings)
    model.to_empty(device="cpu")
    fill(model, single_process(), 0)
    return model


def _count(settings: Settings) -> tuple[Counter[str], list[Tensor]]:
    model = _model(settings)
    tokens = torch.arange(9).remainder(16)
    with _Operators() as operators:
        model.loss(model(tokens[None, :-1]), tokens[None, 1:]).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return operators.calls, gradients


def _repeated(framework: str, recompute: Recompute, **layout: Any) -> Counter[str]:
    """Operators that run more often than without recompute; gradients are equal."""
    settings = _settings(framework, recompute, **layout)
    without = replace(settings, layout=replace(settings.layout, recompute=Recompute()))
    plain, expected = _count(without)
    calls, found = _count(settings)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    return calls - plain


ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def test_full_repeats_attention_and_all_matmuls_of_the_first_layers() -> None:
    repeated = _repeated("megatron-core", Recompute("full"), recompute_layers=2)
    # q, k, v, output; gate, up, down
    assert (repeated["mm"], repeated[ATTENTION]) == (2 * 7, 2)


def test_each_pipeline_rank_repeats_its_own_number_of_layers() -> None:
    repeated = _repeated("megatron-core", Recompute("full"), recompute_layers=(1, 3))
    assert repeated[ATTENTION] == 1  # a single process is pipeline rank 0


def test_core_attention_alone_repeats_no_matmul() -> None:
    repeated = _repeated("megatron-core", Recompute("selective", ("core_attention",)))
    assert (repeated["mm"], repeated[ATTENTION]) == (0, 3)


def test_a_unit_inside_a_chosen_one_repeats_once() -> None:
    repeated = _repeated("megatron-core", Recompute("selective", ("mlp", "activation")))
    assert (repeated["mm"], repeated["silu"], repeated[ATTENTION]) == (3 * 3, 3, 0)


def test_a_policy_of_operators_repeats_every_second_matmul_and_keeps_attention() -> None:
    repeated = _repeated("torchtitan", Recompute("selective", ("norm", "activation")))
    # of q, k, v, output, gate, up, down the second, fourth and sixth
    assert (repeated["mm"], repeated["silu"], repeated[ATTENTION]) == (3 * 3, 3, 0)
