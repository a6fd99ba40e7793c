"""Selective recompute by operator: which matmuls' outputs a policy over a whole layer keeps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from planner.models.graph import ONE_MATRIX, Block


def kept_outputs(block: Block, repeated: Collection[str], share: float) -> Mapping[str, float]:
    """Matmul -> share of its output that is kept, the rest is computed again.

    The policy keeps ``share`` of the matmuls by their number in the order of forward, from the first one on: with 1/2
    every second one (torchtitan v0.2.2, ``_apply_op_sac`` of torchtitan/distributed/activation_checkpoint.py). The two
    halves of a gated projection are two matmuls. Products of routed experts run in one kernel that the policy does not
    know (``_grouped_mm`` is not in its list): all of them run again. Matmuls in ``repeated`` run again by name, and are
    not counted (routers: ``per_op_sac_force_recompute_mm_shapes_by_fqns``).

    Args:
        repeated: names of the operators that run again whatever the policy says.
    """
    kept: dict[str, float] = {}
    number = 0
    groups: dict[str, str] = {}
    for operator in block.operators:
        if operator.kind != "einsum" or operator.name in repeated:
            continue
        axes = {a.name: a.size for a in block.parameters[operator.parameters[0]].axes}
        if "experts" in axes:
            kept[operator.name] = 0.0
            continue
        group = operator.fused_group if operator.fused_group in ONE_MATRIX else None
        if group in groups:
            kept[operator.name] = kept[groups[group]]
            continue
        if group is not None:
            groups[group] = operator.name
        pieces = axes.get("gated") or 1
        kept[operator.name] = sum(keeps(number + piece, share) for piece in range(pieces)) / pieces
        number += pieces
    return kept


def keeps(number: int, share: float) -> bool:
    """Whether the matmul of that number (from 0) is one of the ``share`` that are kept."""
    return math.ceil((number + 1) * share) > math.ceil(number * share)
