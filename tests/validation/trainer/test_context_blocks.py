"""Blocks of a causal sequence: every query sees each earlier key once; merged blocks are the attention of one process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from planner.validation.trainer.context.blocks import Merger, Visible, from_rank, of_sequence
from planner.validation.trainer.context.kernels import Attended, attend, block_backward, block_forward

CHUNK = 3


def _places(rank: int, ranks: int, zigzag: bool) -> list[int]:
    chunks = (rank, 2 * ranks - 1 - rank) if zigzag else (2 * rank, 2 * rank + 1)
    return [chunk * CHUNK + i for chunk in chunks for i in range(CHUNK)]


def _pairs(seen: Visible, queries: list[int], keys: list[int]) -> list[tuple[int, int]]:
    rows, columns = queries[seen.queries], keys[seen.keys]
    return [(q, k) for i, q in enumerate(rows) for j, k in enumerate(columns) if not seen.causal or j <= i]


@pytest.mark.parametrize("zigzag", [True, False])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_ring_sees_each_earlier_key_once(ranks: int, zigzag: bool) -> None:
    pairs = []
    for rank in range(ranks):
        mine = _places(rank, ranks, zigzag)
        for source in range(ranks):
            for seen in from_rank(source, rank, 2 * CHUNK, zigzag=zigzag):
                pairs += _pairs(seen, mine, _places(source, ranks, zigzag))
    tokens = 2 * CHUNK * ranks
    assert sorted(pairs) == [(q, k) for q in range(tokens) for k in range(q + 1)]


def test_zigzag_shares_the_work_equally() -> None:
    """Rank r: the causal square of its own tokens, and half a square for each of the c - 1 others."""
    ranks, whole = 4, 2 * CHUNK
    for rank in range(ranks):
        mine = list(range(whole))
        area = 0
        for source in range(ranks):
            for seen in from_rank(source, rank, whole, zigzag=True):
                area += len(mine[seen.queries]) * len(mine[seen.keys])
        assert area == whole * whole * (ranks + 1) // 2


def test_chunks_of_a_gathered_sequence_see_what_is_before_them() -> None:
    pairs = []
    for chunks in ((0, 3), (1, 2)):
        mine = [chunk * CHUNK + i for chunk in chunks for i in range(CHUNK)]
        for seen in of_sequence(chunks, CHUNK):
            pairs += _pairs(seen, mine, list(range(4 * CHUNK)))
    assert sorted(pairs) == [(q, k) for q in range(4 * CHUNK) for k in range(q + 1)]


def _written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v with a mask, each KV head repeated for its query heads."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("width", [8, 4])
def test_blocks_merge_to_the_whole_forward_and_backward(fused: bool, width: int) -> None:
    torch.manual_seed(0)
    tokens = 8
    q, k, v = (
        torch.randn(2, heads, tokens, size, dtype=torch.float64, requires_grad=True)
        for heads, size in ((4, 8), (2, 8), (2, width))
    )
    expected = _written_out(q, k, v)
    gradient = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (q, k, v), gradient)
    merger = Merger()
    seen = of_sequence((0, 1), tokens // 2)
    for block in seen:
        part = block_forward(
            q[:, :, block.queries], k[:, :, block.keys], v[:, :, block.keys], causal=block.causal, fused=fused
        )
        merger.add(block.queries, part, q)
    whole = merger.result(q.dtype)
    torch.testing.assert_close(whole.out, expected.detach())
    found = [torch.zeros_like(x) for x in (q, k, v)]
    for block in seen:
        places = (block.queries, block.keys, block.keys)
        parts = block_backward(
            gradient[:, :, block.queries],
            *(x[:, :, place] for x, place in zip((q, k, v), places, strict=True)),
            Attended(whole.out[:, :, block.queries], whole.lse[:, :, block.queries]),
            causal=block.causal,
            fused=fused,
        )
        for total, part, place in zip(found, parts, places, strict=True):
            total[:, :, place] += part
    for total, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(total, reference)
    torch.testing.assert_close(attend(q, k, v, causal=True, fused=fused), expected)
