"""Rules of the attention mesh: devices, tensor, sequence and context parallelism."""

from __future__ import annotations

import numpy as np

from planner.layouts.layout import DEFAULT_AXIS_ORDER
from planner.layouts.layouts import Layouts
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule, all_divisible, listed, mask


def _devices(layouts: Layouts, facts: Facts) -> Mask:
    used = layouts.tp * layouts.cp * layouts.pp * layouts.dp
    return used <= facts.devices if facts.idle_devices else used == facts.devices


def _axis_order(layouts: Layouts, facts: Facts) -> Mask:
    allowed = np.array([sorted(order) == sorted(DEFAULT_AXIS_ORDER) for order in layouts.axis_orders])
    return np.asarray(allowed[layouts.axis_order], dtype=np.bool_)


def _heads(layouts: Layouts, facts: Facts) -> Mask:
    return all_divisible(facts.head_sizes, layouts.tp * layouts.ulysses)


def _kv_heads(layouts: Layouts, facts: Facts) -> Mask:
    split = layouts.tp * layouts.ulysses
    result = np.ones(len(layouts), dtype=np.bool_)
    for kv in facts.kv_sizes:
        replicated = (layouts.ulysses == 1) & (split % kv == 0)
        result &= (kv % split == 0) | replicated
    return result


def _inner(layouts: Layouts, facts: Facts) -> Mask:
    return all_divisible(tuple(size for _, size in facts.inner_sizes), layouts.tp)


def _sequence_parallel(layouts: Layouts, facts: Facts) -> Mask:
    fits = all_divisible(facts.sequences, layouts.tp * layouts.cp)
    return mask((layouts.sp == 0) | ((layouts.tp > 1) & fits))


def _context(layouts: Layouts, facts: Facts) -> Mask:
    chunks = layouts.cp * np.where((layouts.ring > 1) & facts.causal, 2, 1)
    return all_divisible(facts.sequences, chunks)


def _attention(layouts: Layouts, facts: Facts) -> Mask:
    return layouts.ulysses == 1 if not facts.head_sizes else np.ones(len(layouts), dtype=np.bool_)


MESH_RULES = (
    Rule(
        "devices",
        ("dp", "tp", "cp", "pp"),
        ("tp", "ulysses", "ring", "pp", "dp"),
        _devices,
        lambda f: (
            f"tp x cp x pp x dp must {'be at most' if f.idle_devices else 'equal'} the {f.devices} devices"
        ),
    ),
    Rule(
        "axis_order",
        ("axis_order",),
        ("axis_order",),
        _axis_order,
        lambda f: "axis_order must name each of tp, cp, ep, dp, pp once",
    ),
    Rule(
        "heads",
        ("tp", "ulysses"),
        ("tp", "ulysses"),
        _heads,
        lambda f: f"tp x ulysses must divide the attention heads ({listed(f.head_sizes)})",
    ),
    Rule(
        "kv_heads",
        ("ulysses", "tp"),
        ("tp", "ulysses"),
        _kv_heads,
        lambda f: (
            f"tp x ulysses must divide the key/value heads ({listed(f.kv_sizes)}); only tp alone may be a multiple "
            "of them (they are replicated)"
        ),
    ),
    Rule(
        "widths",
        ("tp",),
        ("tp",),
        _inner,
        lambda f: "tp must divide " + " and ".join(f"{name} ({size})" for name, size in f.inner_sizes),
    ),
    Rule(
        "sequence_parallel",
        ("sp", "tp"),
        ("sp", "tp", "ulysses", "ring"),
        _sequence_parallel,
        lambda f: f"sp needs tp > 1 and tp x cp that divides the sequence ({listed(f.sequences)} tokens)",
    ),
    Rule(
        "context",
        ("cp", "ulysses"),
        ("ulysses", "ring"),
        _context,
        lambda f: (
            f"cp must divide the sequence ({listed(f.sequences)} tokens)"
            + (", twice when a ring shares causal attention out in pairs of chunks" if f.causal else "")
        ),
    ),
    Rule(
        "ulysses_attention",
        ("ulysses",),
        ("ulysses",),
        _attention,
        lambda f: "ulysses splits attention heads and this model has none",
    ),
)
