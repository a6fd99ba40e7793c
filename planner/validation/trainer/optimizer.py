"""AdamW on what a rank owns: on the weights themselves, or on an fp32 master copy of them (Megatron's convention)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planner.validation.trainer.data.replicas import Replicas
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings

BETAS, EPSILON = (0.9, 0.95), 1e-8


class Optimizer:
    """AdamW of the weights that this rank updates, elementwise on its part of them.

    Args:
        replicas: give weights and gradients, and publish the result.
        settings: learning rate, weight decay (on all weights), and the state law that asks for a master copy.
    """

    def __init__(self, replicas: Replicas, settings: Settings) -> None:
        self._replicas = replicas
        keeps_master = settings.law.master > 0 and not settings.double
        self._updated: list[tuple[nn.Parameter, Tensor]] = [
            (nn.Parameter(weight.to(torch.float32, copy=True) if keeps_master else weight), weight)
            for weight in replicas.weights()
        ]
        self._adamw = torch.optim.AdamW(
            [master for master, _ in self._updated],
            lr=settings.learning_rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=settings.weight_decay,
            foreach=True,
        )

    def step(self) -> None:
        """One update; every rank holds the new weights afterwards."""
        with phase("optimizer"):
            for (master, _), gradient in zip(self._updated, self._replicas.weight_gradients(), strict=True):
                master.grad = gradient.to(master.dtype)
            self._adamw.step()
            self._copy_masters()
            self._replicas.publish()

    @torch.no_grad()
    def _copy_masters(self) -> None:
        for master, weight in self._updated:
            master.grad = None
            if master.dtype != weight.dtype:
                weight.copy_(master)

    def kept(self) -> list[Tensor]:
        """What stays between steps besides the weights: moments, and master copies where there are any."""
        moments = [state[name] for state in self._adamw.state.values() for name in ("exp_avg", "exp_avg_sq")]
        return moments + [master.detach() for master, weight in self._updated if master.dtype != weight.dtype]

    def zero_grad(self) -> None:
        """Gradients of the next step start at zero."""
        self._replicas.zero_gradients()


def make_optimizer(replicas: Replicas, settings: Settings) -> Optimizer:
    """The optimizer of a run, once the weights have their initial values (a master copy starts from them)."""
    return Optimizer(replicas, settings)
