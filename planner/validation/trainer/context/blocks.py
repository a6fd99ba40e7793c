"""A causal sequence in blocks: which queries of a rank see which keys, and how results of blocks are merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planner.validation.trainer.context.kernels import Attended

WHOLE = slice(None)


@dataclass(frozen=True)
class Visible:
    """Some of the rank's queries see some keys, all of them or (``causal``) up to their own place."""

    queries: slice
    keys: slice
    causal: bool


def from_rank(source: int, rank: int, tokens: int, *, zigzag: bool) -> tuple[Visible, ...]:
    """What the queries of ``rank`` see of the keys of ``source`` in a ring.

    Zigzag: rank r holds chunks r and 2c - 1 - r of 2c, so it sees the first chunk of ranks before it with all queries,
    and both chunks of ranks behind it with its second chunk: half a square each.

    Args:
        tokens: of one rank.
    """
    if source == rank:
        return (Visible(WHOLE, WHOLE, True),)
    half = tokens // 2
    if zigzag:
        return (
            Visible(WHOLE, slice(0, half), False)
            if source < rank
            else Visible(slice(half, tokens), WHOLE, False),
        )
    return (Visible(WHOLE, WHOLE, False),) if source < rank else ()


def of_sequence(chunks: tuple[int, ...], tokens: int) -> tuple[Visible, ...]:
    """What the queries of a rank see of the whole sequence in order: all keys before each chunk, and the chunk itself.

    Args:
        chunks: numbers of the chunks that the rank holds, in order.
        tokens: of one chunk.
    """
    result = []
    for place, chunk in enumerate(chunks):
        queries = slice(place * tokens, (place + 1) * tokens)
        if chunk > 0:
            result.append(Visible(queries, slice(0, chunk * tokens), False))
        result.append(Visible(queries, slice(chunk * tokens, (chunk + 1) * tokens), True))
    return tuple(result)


class Merger:
    """Sums the results of blocks of keys for the same queries, weighted by exp of their log-sum-exp, in fp32 or wider."""

    def __init__(self) -> None:
        self._out: Tensor | None = None
        self._lse: Tensor | None = None

    def add(self, queries: slice, block: Attended, like: Tensor) -> None:
        """One more block for some of the queries.

        Args:
            like: all queries, for shape and dtype.
        """
        if self._out is None or self._lse is None:
            shape = (*like.shape[:-1], block.out.shape[-1])
            self._out = torch.zeros(shape, dtype=block.lse.dtype, device=like.device)
            self._lse = torch.full(shape[:-1], -torch.inf, dtype=block.lse.dtype, device=like.device)
        before, out = self._lse[:, :, queries], self._out[:, :, queries]
        after = torch.logaddexp(before, block.lse)
        out.mul_((before - after).exp()[..., None]).add_(block.out * (block.lse - after).exp()[..., None])
        before.copy_(after)

    def result(self, dtype: torch.dtype) -> Attended:
        """Over all blocks so far."""
        assert self._out is not None
        assert self._lse is not None
        return Attended(self._out.to(dtype), self._lse)
