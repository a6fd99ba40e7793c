"""Moves of routed rows (one row: one token for one of its experts) between ranks that hold different numbers of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional

from planner.validation.trainer.exchange import gathered, moved, scattered_sum

Sizes = Sequence[int]


def exchanged_rows(rows: Tensor, sent: Sizes, received: Sizes, group: ProcessGroup | None) -> Tensor:
    """The rows that the ranks of a group have for this one, in the order of the ranks; gradients go the way back.

    Args:
        rows: (rows, width), those for the first rank first.
        sent, received: rows to and from each rank; without a group (one rank) nothing moves.
    """
    if group is None:
        return rows
    there = partial(_all_to_all, sent=sent, received=received, group=group)
    return moved(rows, there, partial(_all_to_all, sent=received, received=sent, group=group))


def gathered_rows(rows: Tensor, sizes: Sizes, group: ProcessGroup | None) -> Tensor:
    """The rows of all ranks of a group, in the order of the ranks; gradients are summed and scattered.

    Where sizes differ, ranks fill up to the largest: the collective moves equal parts.

    Args:
        sizes: rows of each rank.
    """
    if group is None:
        return rows
    most = max(sizes)
    whole = gathered(_filled(rows, most), group, 0)
    if min(sizes) == most:
        return whole
    return torch.cat([part[:size] for part, size in zip(torch.split(whole, most), sizes, strict=True)])


def scattered_rows(rows: Tensor, sizes: Sizes, group: ProcessGroup | None) -> Tensor:
    """This rank's rows of the sum over a group of what ``gathered_rows`` laid out; gradients are gathered."""
    if group is None:
        return rows
    most = max(sizes)
    if min(sizes) < most:
        rows = torch.cat([_filled(part, most) for part in torch.split(rows, list(sizes))])
    return scattered_sum(rows, group, 0)[: sizes[group.rank()]]


def regrouped(rows: Tensor, sizes: Sequence[Sizes]) -> Tensor:
    """Blocks of rows that lie source after source, each by expert, laid expert after expert, each by source.

    Args:
        sizes: (sources, experts) rows of each block; the transposed sizes lead back.
    """
    if len(sizes) == 1 or len(sizes[0]) == 1:
        return rows
    inner = len(sizes[0])
    blocks = torch.split(rows, [size for line in sizes for size in line])
    return torch.cat([blocks[i * inner + j] for j in range(inner) for i in range(len(sizes))])


def _filled(rows: Tensor, count: int) -> Tensor:
    missing = count - rows.shape[0]
    return functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def _all_to_all(rows: Tensor, sent: Sizes, received: Sizes, group: ProcessGroup) -> Tensor:
    arrived = rows.new_empty((sum(received), rows.shape[1]))
    dist.all_to_all_single(arrived, rows.contiguous(), list(received), list(sent), group=group)
    return arrived
