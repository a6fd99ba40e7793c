"""Rules of sharded, recomputed and offloaded state."""

from __future__ import annotations

import numpy as np

from planner.layouts.layouts import Layouts
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule, mask

_SHARDS = ("shard_parameters", "shard_gradients", "shard_optimizer")


def _shard_groups(layouts: Layouts, facts: Facts) -> Mask:
    group = layouts.dp * layouts.cp
    result = np.ones(len(layouts), dtype=np.bool_)
    for name in _SHARDS:
        size = layouts.columns[name]
        result &= (size >= 1) & (group % np.maximum(size, 1) == 0)
    return result


def _expert_shard_groups(layouts: Layouts, facts: Facts) -> Mask:
    result = np.ones(len(layouts), dtype=np.bool_)
    if not facts.experts:
        return result
    edp = np.maximum(layouts.edp, 1)
    for name in _SHARDS:
        result &= edp % np.clip(layouts.columns[name], 1, edp) == 0
    return result


def _nested(layouts: Layouts, facts: Facts) -> Mask:
    parameters, gradients, optimizer = (np.maximum(layouts.columns[name], 1) for name in _SHARDS)
    return mask((optimizer % gradients == 0) & (gradients % parameters == 0))


def _secondary(layouts: Layouts, facts: Facts) -> Mask:
    second, first = layouts.shard_secondary, layouts.shard_parameters
    inside = (second > 1) & (second < first) & (first % np.maximum(second, 1) == 0)
    return mask((second == 0) | inside)


def _recompute_modules(layouts: Layouts, facts: Facts) -> Mask:
    good = np.array([_modules_exist(policy.mode, policy.modules, facts) for policy in layouts.recompute])
    return np.asarray(good[layouts.columns["recompute"]], dtype=np.bool_)


def _modules_exist(mode: str, modules: tuple[str, ...], facts: Facts) -> bool:
    if mode != "selective":
        return not modules
    return bool(modules) and set(modules) <= facts.modules


def _recompute_layers(layouts: Layouts, facts: Facts) -> Mask:
    count = layouts.recompute_layers
    none = np.array([policy.mode == "none" for policy in layouts.recompute])[layouts.columns["recompute"]]
    on_a_rank = -(-facts.layers // layouts.pp)
    for code, partition in enumerate(layouts.partitions):
        if partition is not None:
            on_a_rank = np.where(layouts.partition == code, facts.layers, on_a_rank)
    whole = np.ones(len(layouts), dtype=np.bool_)
    for code, counts in enumerate(layouts.recompute_lists):
        whole &= (count != -2 - code) | (layouts.pp == len(counts))
        count = np.where(count == -2 - code, max(counts), count)
    return mask(whole & ((count == -1) | (~none & (count >= 1) & (count <= on_a_rank))))


def _offload_tiers(layouts: Layouts, facts: Facts) -> Mask:
    good = []
    for policy in layouts.offload:
        moves = (policy.parameters, policy.gradients, policy.optimizer, policy.activations)
        good.append(
            all(
                (tier == "hbm" and share == 0) or (tier in facts.tiers and 0 < share <= 1)
                for tier, share in moves
            )
        )
    return np.asarray(np.array(good)[layouts.columns["offload"]], dtype=np.bool_)


STATE_RULES = (
    Rule(
        "shard_groups",
        ("shard",),
        ("dp", "ulysses", "ring", *_SHARDS),
        _shard_groups,
        lambda f: "shard group sizes must divide dp x cp",
    ),
    Rule(
        "expert_shard_groups",
        ("shard", "ep"),
        (*("tp", "ulysses", "ring", "dp", "ep", "etp"), *_SHARDS),
        _expert_shard_groups,
        lambda f: "shard group sizes below the expert data-parallel degree (edp) must divide it",
    ),
    Rule(
        "nested_shards",
        ("shard",),
        _SHARDS,
        _nested,
        lambda f: (
            "gradients must be sharded at least like parameters and the optimizer at least like gradients"
        ),
    ),
    Rule(
        "secondary_shard",
        ("shard",),
        ("shard_parameters", "shard_secondary"),
        _secondary,
        lambda f: "parameters_secondary must divide the parameters' shard group and be smaller",
    ),
    Rule(
        "recompute_modules",
        ("recompute_modules", "recompute"),
        ("recompute",),
        _recompute_modules,
        lambda f: "selective recomputation must list modules of this model: " + ", ".join(sorted(f.modules)),
    ),
    Rule(
        "recompute_layers",
        ("recompute_layers",),
        ("pp", "partition", "recompute", "recompute_layers"),
        _recompute_layers,
        lambda f: (
            "recompute_layers must be between 1 and the layers of a pipeline rank, with recompute on; of a list "
            "that holds for the largest"
        ),
    ),
    Rule(
        "offload_tiers",
        ("offload",),
        ("offload",),
        _offload_tiers,
        lambda f: (
            "offload needs a tier that the cluster has ("
            + (", ".join(sorted(f.tiers)) or "none below hbm")
            + ") and a "
            "fraction above 0 and up to 1"
        ),
    ),
)
