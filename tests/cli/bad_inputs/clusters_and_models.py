"""Malformed clusters and models."""

from __future__ import annotations

from tests.cli.bad_inputs.case import CONFIG, MODEL, SEARCH, cluster_case, command_case, edited, model_case

CLUSTERS = (
    cluster_case(
        "wrong unit of a bandwidth", "450 GB/s", "450 GB", "cluster.yaml:7", "network[0].bandwidth", "'GB'"
    ),
    cluster_case(
        "negative latency", "5 us", "-5 us", "cluster.yaml:12", "network[1].latency", "-5 us", SEARCH
    ),
    cluster_case(
        "bandwidth that is not a number", "450 GB/s", ".nan", "cluster.yaml:7", "network[0].bandwidth", "nan"
    ),
    cluster_case(
        "infinite bandwidth",
        "450 GB/s",
        ".inf",
        "cluster.yaml:7",
        "network[0].bandwidth",
        "inf",
        "collective all_reduce --cluster ./cluster.yaml --ranks 8",
    ),
    cluster_case(
        "zero nodes", "nodes: 2", "nodes: 0", "cluster.yaml:2", "nodes", "0", "hardware show ./cluster.yaml"
    ),
    cluster_case(
        "10^12 nodes",
        "nodes: 2",
        "nodes: 1000000000000",
        "cluster.yaml:2",
        "nodes",
        "10,000,000",
        "hardware show ./cluster.yaml",
    ),
    cluster_case("sizes that do not nest", "size: 8", "size: 6", "cluster.yaml:10", "network[1].size", "6"),
    cluster_case(
        "levels that do not reach all devices",
        "size: 16",
        "size: 8",
        "cluster.yaml:10",
        "network[1].size",
        "",
        "collective all_reduce --cluster ./cluster.yaml --ranks 8",
    ),
    cluster_case(
        "unknown accelerator",
        "h100-sxm-80gb",
        "h100-sxm-80g",
        "cluster.yaml:1",
        "accelerator",
        "did you mean 'h100-sxm-80gb'?",
        "hardware show ./cluster.yaml",
    ),
    cluster_case(
        "unknown key of a level",
        "    latency: 2 us",
        "    latncy: 2 us",
        "cluster.yaml:8",
        "network[0].latncy",
        "did you mean 'latency'?",
        SEARCH,
    ),
    cluster_case("network is a mapping", "network:\n", "network: {}\nlevels:\n", "cluster.yaml", "", ""),
)

MODELS = (
    model_case(
        "unknown key of a model",
        edited(MODEL, "heads", "head"),
        "model.yaml:3",
        "head",
        "did you mean 'heads'?",
    ),
    model_case(
        "heads that do not divide hidden",
        edited(MODEL, "heads: 8", "heads: 7"),
        "model.yaml:2",
        "hidden",
        "not a multiple of heads 7",
    ),
    model_case("negative layers", edited(MODEL, "layers: 4", "layers: -4"), "model.yaml:1", "layers", "-4"),
    model_case("layers absent", edited(MODEL, "layers: 4\n", ""), "model.yaml:1", "layers", "required"),
    model_case(
        "10^12 layers", edited(MODEL, "layers: 4", "layers: 1000000000000"), "model.yaml:1", "layers", ""
    ),
    model_case("empty model", "", "model.yaml", "", "is empty"),
    model_case(
        "unknown architecture",
        edited(CONFIG, "LlamaFor", "LammaFor"),
        "config.json:2",
        "architectures",
        "did you mean",
        "config.json",
    ),
    model_case(
        "heads of a configuration that do not divide",
        edited(CONFIG, ": 8", ": 7"),
        "config.json",
        "",
        "7",
        "config.json",
    ),
    model_case(
        "configuration with a wrong type",
        edited(CONFIG, ": 8", ": [8]"),
        "config.json:4",
        "num_attention_heads",
        "",
        "config.json",
    ),
    model_case("truncated JSON", CONFIG[:41], "config.json:2", "", "the text ends", "config.json"),
    model_case("JSON with a comment", "// a model\n" + CONFIG, "config.json:1", "", "JSON", "config.json"),
    command_case("unknown preset", "models show llama3-8", "", "did you mean 'llama3-8b'?"),
    command_case("unknown hardware", "hardware show h100-superpo", "", "did you mean 'h100-superpod'?"),
)
