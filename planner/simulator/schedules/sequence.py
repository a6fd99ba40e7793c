"""Seq1F1B: one-forward-one-backward over slices of each sequence (arXiv 2406.03488)."""

from __future__ import annotations

import math

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.schedule import NONE, Actions, Integers, Kind, Schedule, one_chain


def seq1f1b(ranks: int, micro_batches: int, slices: int) -> Schedule:
    """1F1B whose unit is a slice of a sequence: 1/slices of the bubble and of the warm-up's activations.

    Forwards take the slices of a micro-batch in order (a slice attends to those before it), backwards in reverse. Rank r
    warms up with min(p - r - 2 + slices, all) forwards, which for one slice is plain 1F1B.

    Args:
        micro_batches: whole sequences (times micro-batch size); unit i of the actions is slice i mod slices of
            micro-batch i // slices.

    Source: arXiv 2406.03488 and the order of its published implementation (sail-sg, seq1f1b.py).
    """
    units = micro_batches * slices
    forward = np.arange(units, dtype=np.int64)
    backward = forward.reshape(micro_batches, slices)[:, ::-1].ravel()
    return one_chain(
        "seq1f1b",
        np.arange(ranks, dtype=np.int64),
        units,
        tuple(
            _one_f_one_b(rank, min(ranks - rank - 2 + slices, units), forward, backward)
            for rank in range(ranks)
        ),
        slices=slices,
    )


def _one_f_one_b(stage: int, warm_up: int, forward: Integers, backward: Integers) -> Actions:
    """``warm_up`` forwards, then pairs of a forward and a backward, then the backwards that are left."""
    units = len(forward)
    kind = np.empty(2 * units, dtype=np.int64)
    unit = np.empty(2 * units, dtype=np.int64)
    pairs = slice(warm_up, 2 * units - warm_up)
    kind[:warm_up], unit[:warm_up] = Kind.F, forward[:warm_up]
    kind[pairs][0::2], unit[pairs][0::2] = Kind.F, forward[warm_up:]
    kind[pairs][1::2], unit[pairs][1::2] = Kind.B, backward[: units - warm_up]
    kind[2 * units - warm_up :] = Kind.B
    unit[2 * units - warm_up :] = backward[units - warm_up :]
    none = np.full(2 * units, NONE, dtype=np.int64)
    return Actions(kind, np.full(2 * units, stage, dtype=np.int64), unit, none, none)


def equal_compute_slices(
    seq_len: int, slices: int, linear_cost_per_token: float, quadratic_cost: float
) -> tuple[int, ...]:
    """Lengths in tokens of slices that need equal compute under causal attention; they add up to ``seq_len``.

    The first t tokens cost C(t) = linear t + quadratic t^2 / 2, so slice j ends where C(t) = j/slices C(seq_len). Ends
    are rounded to whole tokens, at least one a slice.

    Args:
        linear_cost_per_token: of matmuls and the rest (any unit).
        quadratic_cost: of one query attending to one key, same unit.

    Raises:
        PlannerError: more slices than tokens, or a cost that is negative or both zero.

    Source: the computation-wise partition of arXiv 2406.03488.
    """
    if not 1 <= slices <= seq_len:
        raise PlannerError(f"{seq_len} tokens cannot be cut into {slices} slices", field="slices")
    costs = (linear_cost_per_token, quadratic_cost)
    if not all(math.isfinite(cost) and cost >= 0 for cost in costs) or not any(costs):
        raise PlannerError(
            f"costs of a token must not be negative or all zero; found {costs}", field="slices"
        )
    total = linear_cost_per_token * seq_len + quadratic_cost * seq_len**2 / 2.0
    ends = [0]
    for j in range(1, slices + 1):
        target = total * j / slices
        root = math.sqrt(linear_cost_per_token**2 + 2.0 * quadratic_cost * target)
        end = round(2.0 * target / (linear_cost_per_token + root))
        ends.append(min(max(end, ends[-1] + 1), seq_len - (slices - j)))
    return tuple(int(length) for length in np.diff(ends))
