"""Building blocks of a rank's order: passes merged by a key, and repeated patterns whose passes are numbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.simulator.schedules.schedule import NONE, Actions, Integers, Kind


@dataclass(frozen=True, eq=False)
class Passes:
    """Passes of one rank in the order in which it runs them: columns of equal length."""

    stage: Integers
    micro_batch: Integers

    def __len__(self) -> int:
        return len(self.stage)


def alternate(forward: Passes, backward: Passes, warmup: int, weight_delay: int | None = None) -> Actions:
    """Forwards ahead of the backwards, then one of each in turn, then the backwards that are left.

    The order of 1F1B and of everything made from it: after ``warmup`` forwards, step j runs forward warmup + j and backward
    j. With a split backward, step j also runs weight gradient j - ``weight_delay``, and those left follow at the end.

    Args:
        forward, backward: the same passes, each list in its own order.
        warmup: forwards before the first step; as many as there are passes or more: all of them.
        weight_delay: steps by which a weight gradient trails its input gradient; None: the backward is one fused pass.
    """
    step = np.arange(len(forward), dtype=np.int64)
    parts = [(Kind.F, forward, 3 * (step - warmup))]
    if weight_delay is None:
        parts.append((Kind.B, backward, 3 * step + 1))
    else:
        parts += [(Kind.I, backward, 3 * step + 1), (Kind.W, backward, 3 * (step + weight_delay) + 2)]
    order = np.argsort(np.concatenate([key for _, _, key in parts]), kind="stable")
    kind = np.repeat(np.array([kind for kind, _, _ in parts], dtype=np.int64), len(step))
    none = np.full(len(order), NONE, dtype=np.int64)
    return Actions(
        kind=kind[order],
        stage=np.concatenate([passes.stage for _, passes, _ in parts])[order],
        micro_batch=np.concatenate([passes.micro_batch for _, passes, _ in parts])[order],
        stage2=none,
        micro_batch2=none,
    )


Token = tuple[Kind, int, int]
"""What to run on which local chunk; the second chunk is the backward half of OVERLAP_F_B, else ``NONE``."""


def repeat(blocks: Iterable[tuple[int, Sequence[Token]]]) -> Integers:
    """(tokens, 3): the tokens of each block as often as it says, one block after the other."""
    rows = [
        np.tile(np.array(tokens, dtype=np.int64), (times, 1)) for times, tokens in blocks if times and tokens
    ]
    return np.concatenate(rows)


def number(tokens: Integers, stages: Sequence[int], first: Sequence[int] | None = None) -> Actions:
    """Give tokens their stages and micro-batches: each chunk runs forwards, and backwards, in ascending order.

    A weight gradient belongs to the oldest input gradient of its chunk that has none yet.

    Args:
        tokens: rows of ``Token``.
        stages: virtual stage of each local chunk.
        first: first micro-batch of each local chunk; default 0.
    """
    kind, chunk, chunk2 = tokens.T
    offset = [0] * len(stages) if first is None else first
    fused = kind == Kind.OVERLAP_F_B
    backward = (kind == Kind.B) | (kind == Kind.I)
    behind = np.where(fused, chunk2, np.where(backward, chunk, NONE))
    micro_batch = np.full(len(tokens), NONE, dtype=np.int64)
    micro_batch2 = micro_batch.copy()
    for local, start in enumerate(offset):
        ahead = np.flatnonzero(((kind == Kind.F) | fused) & (chunk == local))
        micro_batch[ahead] = start + np.arange(len(ahead))
        returns = np.flatnonzero(behind == local)
        number_of = np.full(len(tokens), NONE, dtype=np.int64)
        number_of[returns] = start + np.arange(len(returns))
        micro_batch[returns] = np.where(fused[returns], micro_batch[returns], number_of[returns])
        micro_batch2[returns] = np.where(fused[returns], number_of[returns], NONE)
        split = np.flatnonzero((kind == Kind.I) & (chunk == local))
        micro_batch[(kind == Kind.W) & (chunk == local)] = micro_batch[split]
    table = np.append(np.asarray(stages, dtype=np.int64), NONE)
    return Actions(kind, table[chunk], micro_batch, table[np.where(fused, chunk2, NONE)], micro_batch2)


def keep(actions: Actions, chosen: Integers) -> Actions:
    """The chosen rows, in their order (mask or indices)."""
    return Actions(
        actions.kind[chosen],
        actions.stage[chosen],
        actions.micro_batch[chosen],
        actions.stage2[chosen],
        actions.micro_batch2[chosen],
    )
