"""Weight gradients that Transformer Engine keeps in 16 bits beside those that it accumulates in fp32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planner.validation.trainer.cuts import Owned


class CachedGradients:
    """One tensor per kind of matrix of a layer, one expert's where there are many.

    Its products write fp32 gradients in place, and autograd gets one of these instead, which nobody reads
    (``get_dummy_wgrad`` of transformer_engine/pytorch/module/base.py). The ends of the model are Megatron-LM's own layers.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def watch(self, owned: Owned, weight: nn.Parameter) -> None:
        """Keep what stands for the gradients of this parameter."""

        def keep(done: Tensor) -> None:
            if done.grad is not None:
                self.keep(owned, done.grad)

        weight.register_post_accumulate_grad_hook(keep)  # type: ignore[no-untyped-call]

    def keep(self, owned: Owned, gradient: Tensor) -> None:
        """Allocate what stands for this gradient, when it is the first of its kind."""
        kind = owned.name.partition("layers.")[2].partition(".")[2]
        one = gradient[0] if owned.replicas == "edp" else gradient
        if kind and one.dim() > 1 and kind not in self._kept:
            self._kept[kind] = torch.empty_like(one)
