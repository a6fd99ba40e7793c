"""Malformed layouts, command lines and plans."""

from __future__ import annotations

from tests.cli.bad_inputs.case import ESTIMATE, cluster_case, command_case, layout_case, plan_case

LAYOUTS = (
    layout_case(
        "tp that does not divide the heads",
        "tp=3",
        "layout.tp",
        "32",
        "estimate job.yaml -o out.yaml --devices 24",
    ),
    layout_case("tp that does not divide the devices", "tp=3", "layout", "nearest legal: tp 1, 2, 4"),
    layout_case("dp that does not match", "tp=8,dp=4", "layout.dp", "dp must be 2"),
    layout_case("ep without experts", "tp=8,ep=2", "layout", "no routed experts"),
    layout_case("unknown knob", "tpp=8", "layout.tpp", "did you mean 'tp'?", "check job.yaml"),
    layout_case("knob without a value", "tp=", "layout", "tp=8,pp=4", "check job.yaml"),
    layout_case("knob given twice", "tp=8,tp=4", "layout.tp", "twice", "max job.yaml"),
    layout_case("zero_stage of 4", "tp=8,zero_stage=4", "layout.zero_stage", "0, 1, 2, 3", "check job.yaml"),
    layout_case("negative degree", "tp=-8", "layout.tp", "-8", "max job.yaml"),
    layout_case("degree of 10^12", "tp=1000000000000", "layout.tp", "out of range"),
    layout_case("degree that is not a number", "tp=nan", "layout.tp", "nan"),
    layout_case(
        "axis order without an axis",
        "tp=8,axis_order=tp-dp-pp",
        "layout.axis_order",
        "once",
        "check job.yaml",
    ),
    layout_case(
        "layers_per_stage of another count",
        "tp=8,pp=2,layers_per_stage=[16,8,8]",
        "layout.layers_per_stage",
        "multiple of 2",
    ),
    layout_case("layers_per_stage of another sum", "tp=8,pp=2,layers_per_stage=[16,8]", "layout", "32"),
    layout_case(
        "unknown recompute module",
        "tp=8,recompute=selective,recompute_modules=[attn_core]",
        "layout",
        "attn_core",
    ),
    layout_case("unknown recompute", "tp=8,recompute=fully", "layout.recompute", "did you mean 'full'?"),
    cluster_case(
        "offload to a tier that is not there",
        "nodes: 2",
        "nodes: 2",
        "",
        "layout.offload",
        "host",
        f"{ESTIMATE},offload={{optimizer:host}}".replace(" -o out.yaml", ""),
    ),
    layout_case("unknown tier", "tp=8,offload={optimizer:disk}", "layout.offload.optimizer.tier", "disk"),
    layout_case("unknown schedule", "tp=8,pp=2,schedule=1f2b", "layout.schedule", "did you mean '1f1b'?"),
    layout_case(
        "schedule without a closed form",
        "tp=8,pp=2,vpp=2,schedule=v_half",
        "layout.schedule",
        "needs event simulation",
        "estimate job.yaml -o out.yaml --set training.framework=ideal",
    ),
    layout_case("schedule in a file", "tp=8,pp=2,schedule=csv:actions.csv", "layout.schedule", "simulation"),
    layout_case(
        "batch that no replica can split",
        "tp=8,micro_batch=5",
        "layout.micro_batch",
        "nearest legal: 2, 4, 8",
    ),
    layout_case("unbalanced bracket", "tp=8,shard={optimizer:2", "layout", "missing '}'"),
)

COMMANDS = (
    command_case(
        "unknown collective",
        "collective all_reduces --cluster h100-superpod --ranks 8",
        "",
        "did you mean 'all_reduce'?",
    ),
    command_case(
        "collective of no ranks", "collective all_reduce --cluster h100-superpod --ranks 0", "--ranks", "0"
    ),
    command_case(
        "collective of too many ranks",
        "collective all_reduce --cluster h100-superpod --ranks 1000000000000",
        "ranks",
        "devices",
    ),
    command_case(
        "collective of a negative size",
        "collective all_reduce --cluster h100-superpod --ranks 8 --bytes -1GiB",
        "--bytes",
        "",
    ),
    command_case(
        "collective of an infinite size",
        "collective all_reduce --cluster h100-superpod --ranks 8 --bytes inf",
        "--bytes",
        "inf",
    ),
    command_case(
        "unknown algorithm",
        "collective all_reduce --cluster h100-superpod --ranks 8 --algorithm rings",
        "",
        "did you mean 'ring'?",
    ),
    command_case("compare a job", "compare job.yaml job.yaml", "", "is a job, not a plan"),
    plan_case(
        "plan with an unknown section",
        "layout:",
        "lay_out: 1\nlayout:",
        "plan.yaml:6",
        "lay_out",
        "did you mean 'layout'?",
        "compare good.yaml plan.yaml",
    ),
    plan_case(
        "plan with an unknown knob",
        "tp: 8",
        "tpp: 8",
        "plan.yaml:6",
        "layout.tpp",
        "did you mean 'tp'?",
        "compare good.yaml plan.yaml",
    ),
    plan_case(
        "plan with a faulty layout",
        "{tp: 8, micro_batch: 1}",
        "[1, 2]",
        "plan.yaml:6",
        "layout",
        "mapping",
        "check plan.yaml",
    ),
    plan_case(
        "plan whose job is faulty",
        "seq_len: 4096",
        "seq_len: 0",
        "plan.yaml:5",
        "job.training.seq_len",
        "",
        "compare plan.yaml good.yaml",
    ),
    plan_case(
        "plan with tp that does not divide",
        "tp: 8",
        "tp: 5",
        "plan.yaml:6",
        "layout",
        "does not divide",
        "max plan.yaml",
    ),
)
