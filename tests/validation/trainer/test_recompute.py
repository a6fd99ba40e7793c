"""Whole layers repeated in backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from planner.validation.trainer.recompute import repeat_whole

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


@pytest.mark.parametrize(
    ("first", "stops_early", "repeated"),
    [(None, True, 3), (None, False, 6), (1, True, 1), (2, False, 4)],
)
def test_repeats_the_layers_matmuls_and_changes_no_gradient(
    first: int | None, stops_early: bool, repeated: int
) -> None:
    plain, expected = _run(lambda layers: None)
    flops, found = _run(lambda layers: repeat_whole(layers, first=first, stops_early=stops_early))
    # a layer has two matmuls; stopping early leaves the last one out, whose output no gradient needs
    assert flops - plain == repeated * MATMUL
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
