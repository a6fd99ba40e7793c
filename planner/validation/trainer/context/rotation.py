"""Messages along a ring of ranks: to the next one, from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Ring:
    """This rank's place in a ring.

    Args:
        group: the ranks in order of their places.
    """

    group: ProcessGroup

    @property
    def size(self) -> int:
        return self.group.size()

    @property
    def place(self) -> int:
        return self.group.rank()

    def source(self, hops: int) -> int:
        """The place whose block is here after so many hops."""
        return (self.place - hops) % self.size

    def pass_on(self, message: Tensor) -> Passing:
        """Start to send ``message`` to the next place and to receive another of its shape from the place before."""
        ranks = dist.get_process_group_ranks(self.group)
        arriving = torch.empty_like(message)
        works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, message, ranks[(self.place + 1) % self.size], self.group),
                dist.P2POp(dist.irecv, arriving, ranks[(self.place - 1) % self.size], self.group),
            ]
        )
        return Passing(message, arriving, works)


@dataclass(frozen=True)
class Passing:
    """A message under way; what is sent stays alive with it."""

    leaving: Tensor
    arriving: Tensor
    works: list[Any]

    def arrived(self) -> Tensor:
        """Waits, and gives what the place before has sent."""
        for work in self.works:
            work.wait()
        return self.arriving


def packed(*parts: Tensor) -> Tensor:
    """Tensors as one message."""
    return torch.cat([part.flatten() for part in parts])


def unpacked(message: Tensor, *like: Tensor) -> tuple[Tensor, ...]:
    """The tensors of a message, shaped as these."""
    parts = torch.split(message, [part.numel() for part in like])
    return tuple(part.view(shaped.shape) for part, shaped in zip(parts, like, strict=True))
