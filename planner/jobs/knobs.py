"""Names of the layout knobs in flags, YAML and JSON: declared here once, read by files and by layouts."""

from __future__ import annotations

KNOBS = (
    "tp",
    "sp",
    "cp",
    "ulysses",
    "ring",
    "cp_kind",
    "pp",
    "vpp",
    "schedule",
    "slices",
    "layers_per_stage",
    "ep",
    "etp",
    "dp",
    "zero_stage",
    "shard",
    "micro_batch",
    "grad_accum",
    "recompute",
    "recompute_modules",
    "recompute_layers",
    "offload",
    "axis_order",
)

SWITCHES = ("idle_devices", "uneven_stages")
"""Keys of ``search.allow`` that are no knobs: use fewer devices; let pp not divide the layers."""
