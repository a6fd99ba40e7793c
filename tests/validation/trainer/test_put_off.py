"""Weight gradients that wait for a weight pass equal those of one whole backward pass."""

from __future__ import annotations

import torch
from torch import nn

from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.put_off import PutOff


def _gradients(later: PutOff | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(0)
    layers = nn.Sequential(Linear(3, 4, bias=True), Linear(4, 2, bias=False)).double()
    for layer in layers:
        layer.later = later  # type: ignore[assignment]
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    layers(x).square().sum().backward()
    assert x.grad is not None
    if later is not None:
        assert all(parameter.grad is None for parameter in layers.parameters())
        later.take()()
    return x.grad, [parameter.grad for parameter in layers.parameters() if parameter.grad is not None]


def test_a_weight_pass_makes_what_backward_left_out() -> None:
    (whole_x, whole), (split_x, split) = _gradients(None), _gradients(PutOff())
    assert torch.equal(whole_x, split_x)
    assert len(split) == len(whole) == 3
    assert all(torch.allclose(a, b, rtol=1e-14) for a, b in zip(whole, split, strict=True))


def test_hooks_of_parameters_run_in_the_weight_pass() -> None:
    layer, later = Linear(3, 2, bias=False).double(), PutOff()
    layer.later = later
    seen: list[bool] = []
    layer.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad is not None))  # type: ignore[no-untyped-call]
    layer(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    assert not any(seen)  # autograd may call the hook without a gradient
    later.take()()
    assert seen[-1]
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1.0] * 3] * 2
