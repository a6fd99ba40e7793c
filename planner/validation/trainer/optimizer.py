"""AdamW on what a rank owns: on the weights themselves, or on an fp32 master copy of them (Megatron's convention)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planner.validation.trainer.data.flat import FlatReplicas
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings

BETAS, EPSILON = (0.9, 0.95), 1e-8


class FlatAdamW:
    """AdamW of flat slices.

    Args:
        replicas: give the slices and their gradients, and publish the result.
        settings: learning rate, weight decay, and the state law that asks for a master copy.
    """

    def __init__(self, replicas: FlatReplicas, settings: Settings) -> None:
        self._replicas = replicas
        keeps_master = settings.law.master > 0 and not settings.double
        self._masters: list[tuple[nn.Parameter, Tensor]] = [
            (nn.Parameter(values.to(torch.float32, copy=True) if keeps_master else values), values)
            for values, _ in replicas.updated()
        ]
        self._adamw = torch.optim.AdamW(
            [master for master, _ in self._masters],
            lr=settings.learning_rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=settings.weight_decay,
            foreach=True,
        )

    def step(self) -> None:
        """One update; every rank holds the new weights afterwards."""
        with phase("optimizer"):
            for (master, _), (_, gradient) in zip(self._masters, self._replicas.updated(), strict=True):
                master.grad = gradient.to(master.dtype)
            self._adamw.step()
            self._copy_masters()
            self._replicas.publish()

    @torch.no_grad()
    def _copy_masters(self) -> None:
        for master, values in self._masters:
            master.grad = None
            if master.data_ptr() != values.data_ptr():
                values.copy_(master)

    def zero_grad(self) -> None:
        """Gradients of the next step start at zero."""
        self._replicas.zero_gradients()
