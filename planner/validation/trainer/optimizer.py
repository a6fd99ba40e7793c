"""AdamW on what a rank owns: on the weights themselves, or on an fp32 master copy of them (Megatron's convention)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from planner.validation.trainer.data.replicas import Replicas
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings

BETAS, EPSILON = (0.9, 0.95), 1e-8


PIECE_ELEMENTS = 1 << 24
"""Elements that a fused update widens at a time; its kernel converts 16-bit gradients as it reads them."""


@dataclass(frozen=True)
class _Updated:
    """What is updated together: the optimizer's parameter, the weight that follows it, and a copy of the gradient in the
    parameter's dtype where the state law keeps one.
    """

    master: nn.Parameter
    weight: Tensor
    gradient: Tensor | None

    @property
    def separate(self) -> bool:
        """Whether the master is a copy of the weight."""
        return self.master.dtype != self.weight.dtype

    def ready(self, gradient: Tensor) -> None:
        """Hand the gradient to the optimizer in its dtype."""
        kept = self.gradient
        self.master.grad = gradient.to(self.master.dtype) if kept is None else kept.copy_(gradient)

    @torch.no_grad()
    def done(self) -> None:
        """The weight follows its master."""
        self.master.grad = None
        if self.separate:
            self.weight.copy_(self.master)


class Optimizer:
    """AdamW of the weights that this rank updates, elementwise on its part of them.

    All weights at once with the copies of PyTorch's ``foreach`` form where the state law has bytes for them; else piece
    by piece in one kernel that makes none.

    Args:
        replicas: give weights and gradients, and publish the result.
        settings: learning rate, weight decay (on all weights), and the state law that asks for a master copy.
    """

    def __init__(self, replicas: Replicas, settings: Settings) -> None:
        self._replicas, law = replicas, settings.law
        self._together = law.update > 0
        wide = None if settings.double or not law.master else torch.float32
        copies = law.gradient_copy > 0 and not settings.double
        self._updated = [_updated(weight, wide, copies) for weight in self._pieces(replicas.weights())]
        self._adamw = torch.optim.AdamW(
            [item.master for item in self._updated],
            lr=settings.learning_rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=settings.weight_decay,
            foreach=self._together,
            fused=not self._together,
        )

    def step(self) -> None:
        """One update; every rank holds the new weights afterwards."""
        with phase("optimizer"):
            gradients = self._pieces(self._replicas.weight_gradients())
            for item, gradient in zip(self._updated, gradients, strict=True):
                item.ready(gradient)
                if not self._together:
                    self._adamw.step()  # what has no gradient stays as it is
                    item.done()
            if self._together:
                self._adamw.step()
                for item in self._updated:
                    item.done()
            self._replicas.publish()

    def _pieces(self, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
        for tensor in tensors:
            yield from (tensor,) if self._together else torch.split(tensor.view(-1), PIECE_ELEMENTS)

    def kept(self) -> list[Tensor]:
        """What stays between steps besides the weights: moments, master copies and copies of gradients."""
        moments = [state[name] for state in self._adamw.state.values() for name in ("exp_avg", "exp_avg_sq")]
        masters = [item.master.detach() for item in self._updated if item.separate]
        return moments + masters + [item.gradient for item in self._updated if item.gradient is not None]

    def zero_grad(self) -> None:
        """Gradients of the next step start at zero."""
        self._replicas.zero_gradients()


def _updated(weight: Tensor, wide: torch.dtype | None, copies: bool) -> _Updated:
    master = nn.Parameter(weight if wide is None else weight.to(wide, copy=True))
    return _Updated(master, weight, torch.zeros_like(master.detach()) if copies else None)


def make_optimizer(replicas: Replicas, settings: Settings) -> Optimizer:
    """The optimizer of a run, once the weights have their initial values (a master copy starts from them)."""
    return Optimizer(replicas, settings)
