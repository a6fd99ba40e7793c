"""What the framework profile can launch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from planner.layouts.layout import SCHEDULES, Offload
from planner.layouts.layouts import Layouts
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule, mask

_SHARDS = ("shard_parameters", "shard_gradients", "shard_optimizer")


def _stage(layouts: Layouts) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    parameters, gradients, optimizer = (layouts.columns[name] > 1 for name in _SHARDS)
    return np.where(parameters, 3, np.where(gradients, 2, np.where(optimizer, 1, 0)))


def _zero_stage(layouts: Layouts, facts: Facts) -> Mask:
    stage = _stage(layouts)
    return mask((stage == 0) | np.isin(stage, facts.zero_stages))


def _replicated(layouts: Layouts, facts: Facts) -> Mask:
    if 0 in facts.zero_stages:
        return np.ones(len(layouts), dtype=np.bool_)
    return mask((_stage(layouts) > 0) | (layouts.dp * layouts.cp == 1))


def _subgroups(layouts: Layouts, facts: Facts) -> Mask:
    if "shard_subgroup" in facts.features:
        return np.ones(len(layouts), dtype=np.bool_)
    group = layouts.dp * layouts.cp
    result = layouts.shard_secondary == 0
    for name in _SHARDS:
        result &= (layouts.columns[name] == 1) | (layouts.columns[name] == group)
    return np.asarray(result, dtype=np.bool_)


def _pipeline_stage(layouts: Layouts, facts: Facts) -> Mask:
    stage = _stage(layouts)
    return mask((layouts.pp == 1) | (stage == 0) | np.isin(stage, facts.pipeline_zero_stages))


def _schedules(layouts: Layouts, facts: Facts) -> Mask:
    # Who brings an action list knows how to run it.
    codes = [SCHEDULES.index(name) for name in SCHEDULES if name in facts.schedules or name == "csv"]
    return mask((layouts.pp == 1) | np.isin(layouts.schedule, codes))


def _feature(name: str, uses: Callable[[Layouts], Mask]) -> Callable[[Layouts, Facts], Mask]:
    def holds(layouts: Layouts, facts: Facts) -> Mask:
        if name in facts.features:
            return np.ones(len(layouts), dtype=np.bool_)
        return ~uses(layouts)

    return holds


def _offloads(layouts: Layouts) -> Mask:
    used = np.array([policy != Offload() for policy in layouts.offload])
    return np.asarray(used[layouts.columns["offload"]], dtype=np.bool_)


def _feature_rule(
    name: str, knob: str, columns: tuple[str, ...], uses: Callable[[Layouts], Mask], what: str
) -> Rule:
    return Rule(
        f"framework_{name}",
        (knob,),
        columns,
        _feature(name, uses),
        lambda f: f"{f.framework} does not offer {what}",
    )


FRAMEWORK_RULES = (
    _feature_rule("tp", "tp", ("tp",), lambda x: x.tp > 1, "tensor parallelism: tp must be 1"),
    _feature_rule("sp", "sp", ("sp",), lambda x: x.sp == 1, "sequence parallelism over tp: sp must be off"),
    _feature_rule("ulysses", "ulysses", ("ulysses",), lambda x: x.ulysses > 1, "Ulysses: ulysses must be 1"),
    _feature_rule(
        "ring",
        "cp_kind",
        ("ring", "cp_gather"),
        lambda x: (x.ring > 1) & (x.cp_gather == 0),
        "ring attention: choose another cp_kind or cp = ulysses",
    ),
    _feature_rule(
        "cp_allgather",
        "cp_kind",
        ("ring", "cp_gather"),
        lambda x: (x.ring > 1) & (x.cp_gather == 1),
        "context parallelism by all-gather: choose another cp_kind",
    ),
    _feature_rule("pp", "pp", ("pp",), lambda x: x.pp > 1, "pipelines: pp must be 1"),
    _feature_rule("vpp", "vpp", ("vpp",), lambda x: x.vpp > 1, "virtual stages: vpp must be 1"),
    _feature_rule("ep", "ep", ("ep",), lambda x: x.ep > 1, "expert parallelism: ep must be 1"),
    _feature_rule("offload", "offload", ("offload",), _offloads, "offloading"),
    Rule(
        "framework_schedule",
        ("schedule",),
        ("pp", "schedule"),
        _schedules,
        lambda f: f"{f.framework} runs the schedules {', '.join(f.schedules)}",
    ),
    Rule(
        "framework_zero_stage",
        ("zero_stage",),
        _SHARDS,
        _zero_stage,
        lambda f: f"{f.framework} offers ZeRO stages {', '.join(map(str, f.zero_stages))}",
    ),
    Rule(
        "framework_replicated",
        ("zero_stage",),
        ("dp", "ulysses", "ring", *_SHARDS),
        _replicated,
        lambda f: f"{f.framework} always shards: ZeRO stages {', '.join(map(str, f.zero_stages))}",
    ),
    Rule(
        "framework_subgroups",
        ("shard",),
        ("dp", "ulysses", "ring", "shard_secondary", *_SHARDS),
        _subgroups,
        lambda f: f"{f.framework} shards over all of dp x cp or not at all",
    ),
    Rule(
        "framework_pipeline_stage",
        ("zero_stage",),
        ("pp", *_SHARDS),
        _pipeline_stage,
        lambda f: f"{f.framework} combines pipelines with ZeRO stages 0 and 1 only",
    ),
)
