"""Fused norms and gates: the numbers of PyTorch's own operators, and nothing kept besides their inputs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from planner.validation.trainer.cuts import Owned
from planner.validation.trainer.data.cached import CachedGradients
from planner.validation.trainer.model.fused import fused_gate, fused_rms_norm


def _tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(s, dtype=torch.float64, generator=generator, requires_grad=True) for s in shapes]


def _kept_elements(function: object, *inputs: Tensor) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        function(*inputs)  # type: ignore[operator]
    return sum(kept.values())


def test_rms_norm() -> None:
    x, weight = _tensors((2, 3, 8), (8,))
    torch.testing.assert_close(fused_rms_norm(x, weight, 1e-5), functional.rms_norm(x, (8,), weight, 1e-5))
    assert torch.autograd.gradcheck(lambda a, b: fused_rms_norm(a, b, 1e-5), (x, weight))
    # the input, the weight, one number per row
    assert _kept_elements(lambda a, b: fused_rms_norm(a, b, 1e-5), x, weight) == 48 + 8 + 6


def test_gate() -> None:
    gate, up = _tensors((4, 6), (4, 6))
    torch.testing.assert_close(fused_gate(functional.silu, gate, up), functional.silu(gate) * up)
    assert torch.autograd.gradcheck(lambda a, b: fused_gate(functional.silu, a, b), (gate, up))
    assert _kept_elements(lambda a, b: fused_gate(functional.silu, a, b), gate, up) == 2 * 24


def test_one_gradient_is_cached_for_each_kind_of_matrix_of_a_layer() -> None:
    """Equal matrices of all layers share one; of stacked experts one is kept; vectors and the ends of the model have none."""
    cached = CachedGradients()
    for layer in (0, 1):
        for name, shape, replicas in (
            (f"layers.{layer}.mlp.down.weight", (4, 6), "dp_cp"),
            (f"layers.{layer}.mlp_norm.weight", (4,), "dp_cp"),
            (f"layers.{layer}.moe.experts.down", (8, 4, 2), "edp"),
            ("head.output.weight", (9, 4), "dp_cp"),
        ):
            parameter = torch.nn.Parameter(torch.zeros(shape))
            cached.keep(Owned(name, parameter, (), None, replicas), torch.zeros(shape))
    assert {kind: tuple(kept.shape) for kind, kept in cached._kept.items()} == {
        "mlp.down.weight": (4, 6),
        "moe.experts.down": (4, 2),
    }
