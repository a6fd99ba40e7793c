"""Which routed rows go where: the order in which a rank sends them, and how many move between which ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from planner.validation.trainer.groups import Groups

Table = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Routes:
    """The rows of one micro-batch on one rank.

    Args:
        order: slots (token x top-k + choice) sorted by the number of their expert.
        sent: rows to each rank of ep.
        blocks: rows that arrive for each expert of this rank, (etp x ep, experts of the rank), ep fastest.
        ep: ranks of ep.
    """

    order: Tensor
    sent: tuple[int, ...]
    blocks: Table
    ep: int

    @property
    def arrived(self) -> tuple[int, ...]:
        """Rows that the ranks of etp hold after the exchange over ep."""
        lines = [sum(line) for line in self.blocks]
        return tuple(sum(lines[first : first + self.ep]) for first in range(0, len(lines), self.ep))

    def received(self, place: int) -> tuple[int, ...]:
        """Rows that the rank at ``place`` of etp gets from each rank of ep."""
        return tuple(sum(line) for line in self.blocks[place * self.ep : (place + 1) * self.ep])

    @property
    def by_expert(self) -> Table:
        """``blocks`` with the experts outside: (experts of the rank, sources)."""
        return tuple(zip(*self.blocks, strict=True))

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each expert of the rank."""
        return tuple(sum(line) for line in self.by_expert)


def learned_routes(chosen: Tensor, experts: int, groups: Groups) -> Routes:
    """The routes of what a router chose; ranks tell each other how many rows come for which expert.

    Args:
        chosen: (tokens, top-k) numbers of experts. experts: of the layer.
    """
    ep = groups.size("ep")
    own = torch.bincount(chosen.flatten(), minlength=experts)
    arriving = own
    if (group := groups.group("ep")) is not None:
        arriving = torch.empty_like(own)
        dist.all_to_all_single(arriving, own, group=group)
    if (group := groups.group("etp")) is not None:
        everywhere = [torch.empty_like(arriving) for _ in range(groups.size("etp"))]
        dist.all_gather(everywhere, arriving, group=group)
        arriving = torch.cat(everywhere)
    told = torch.cat([own, arriving]).tolist()  # the only wait for the device
    local = experts // ep
    sent, blocks = (_table(part, local) for part in (told[:experts], told[experts:]))
    return Routes(_order(chosen), tuple(sum(line) for line in sent), blocks, ep)


def balanced_routes(chosen: Tensor, experts: int, groups: Groups) -> Routes:
    """The routes of ``balanced_choice``, whose sizes are known on every rank without a word.

    Args:
        chosen: (tokens, top-k), as many on every rank. experts: of the layer.
    """
    ep = groups.size("ep")
    each, more = divmod(chosen.numel(), experts)
    lines = _table([each + (expert < more) for expert in range(experts)], experts // ep)
    blocks = (lines[groups.index("ep")],) * (ep * groups.size("etp"))
    return Routes(_order(chosen), tuple(sum(line) for line in lines), blocks, ep)


def balanced_choice(tokens: int, top_k: int, experts: int, device: torch.device) -> Tensor:
    """(tokens, top-k): experts dealt out round robin over the rank's tokens.

    Where every contiguous part of the sequence times top-k is a multiple of ``experts``, all layouts deal alike.
    """
    slots = torch.arange(tokens * top_k, device=device)
    return (slots % experts).view(tokens, top_k)


def _order(chosen: Tensor) -> Tensor:
    return chosen.flatten().argsort(stable=True)


def _table(counts: list[int], width: int) -> Table:
    return tuple(tuple(counts[first : first + width]) for first in range(0, len(counts), width))
