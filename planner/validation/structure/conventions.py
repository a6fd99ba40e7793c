"""Named differences between what predictions and PyTorch's counter call the FLOPs of a step, as exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from planner.jobs.types import Job
from planner.layouts.layout import Layout


@dataclass(frozen=True)
class AttentionShare:
    """Part of the full square of causal attention that the kernel calls of a rank cover, and why."""

    share: Fraction
    name: str = ""


def attention_share(job: Job, layout: Layout) -> AttentionShare:
    """What the first rank of a context-parallel group computes.

    Predictions count all queries of a rank times all keys. A group of c ranks with T tokens each skips what causality
    hides block by block; PyTorch's counter has every call as a full rectangle:

    - a ring in pairs of chunks (zigzag): T x T once, c - 1 halves of it, of c T^2;
    - gathered keys in pairs of chunks: T/2 x T/2 times (r + 1) + (2c - r), of c T^2;
    - in order: the first rank sees its own block only.
    """
    c = layout.ring
    if c == 1:
        return AttentionShare(Fraction(1))
    if job.training.cp_balance == "contiguous":
        return AttentionShare(Fraction(1, c), f"first of {c} contiguous parts: 1/{c} of the full square")
    if layout.cp_kind == "allgather":
        share = Fraction(2 * c + 1, 4 * c)
        return AttentionShare(
            share, f"pairs of chunks, gathered keys: (2c + 1)/4c = {share} of the full square"
        )
    share = Fraction(c + 1, 2 * c)
    return AttentionShare(share, f"blocks of a zigzag ring: (c + 1)/2c = {share} of the full square")
