"""Jobs: what files say becomes what the planner computes with, and what they may not say is one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.jobs.loader import load_job

JOB = """\
model: llama3-8b
cluster: h100-superpod
devices: 16
training:
  global_batch: 32
  seq_len: 8K
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_job(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return path

    return write_job


def mapping(**training: Any) -> dict[str, Any]:
    section = {"global_batch": 32, "seq_len": 4096, **training}
    return {"model": "llama3-8b", "cluster": "h100-superpod", "devices": 16, "training": section}


def test_defaults_are_those_of_the_interface(write: Write) -> None:
    job = load_job(write(JOB))
    assert job.devices == 16
    assert job.training.seq_len == 8192
    assert job.training.precision == "bf16"
    assert job.training.optimizer == "adamw"
    assert job.training.attention == "flash"
    assert job.framework.name == "megatron-core"
    assert job.search.objective == "step_time"
    assert job.search.memory_reserve == 0.06
    assert job.name == "job"


def test_cluster_is_cut_to_the_devices() -> None:
    job = load_job(mapping())
    assert (job.cluster.nodes, job.cluster.devices_per_node) == (2, 8)


def test_all_devices_are_used_by_default() -> None:
    job = load_job({"model": "llama3-8b", "cluster": "l40s-internet", "training": {"global_batch": 16}})
    assert job.devices == 16
    assert job.training.seq_len == job.model.seq_len


def test_batch_in_tokens() -> None:
    # 8M tokens (binary) in sequences of 8192: 2^23 / 2^13 = 1024.
    job = load_job({**mapping(), "training": {"global_batch_tokens": "8M", "seq_len": 8192}})
    assert job.training.global_batch == 1024


def test_units_of_reserve_and_deadline() -> None:
    search = {
        "objective": "devices",
        "target": {"deadline": "30d", "tokens": "15T"},
        "memory_reserve": "10%",
    }
    job = load_job({**mapping(), "search": search})
    assert job.search.memory_reserve == pytest.approx(0.10)
    # 30 days of 86,400 s; token budgets are decimal.
    assert job.search.target == {"deadline_s": 2_592_000.0, "tokens": 15e12}


@pytest.mark.parametrize("capture", [True, False, ["attn", "moe_router"], []])
def test_graphs_of_everything_or_of_parts(capture: bool | list[str]) -> None:
    job = load_job(mapping(capture=capture))
    assert job.training.capture == (capture if isinstance(capture, bool) else tuple(capture))


def test_dtypes_by_name() -> None:
    job = load_job(mapping(optimizer_state_dtype="bf16", gradient_dtype="fp32"))
    assert job.training.optimizer_state_dtype_bytes == 2.0
    assert job.training.gradient_dtype_bytes == 4.0


def test_overlap_accepts_truth_and_shares() -> None:
    job = load_job(mapping(overlap={"tp": True, "dp_reduce": False, "cp": 0.5, "bucket_bytes": "200 MB"}))
    assert job.training.overlap == {"tp": 1.0, "dp_reduce": 0.0, "cp": 0.5, "bucket_bytes": 200e6}


def test_overrides_replace_what_the_file_says(write: Write) -> None:
    job = load_job(
        write(JOB), overrides={"devices": 8, "training.seq_len": "4K", "training.loss.chunk": 1024}
    )
    assert (job.devices, job.training.seq_len, job.training.loss.chunk) == (8, 4096, 1024)


def test_equal_lengths_are_exact(tmp_path: Path, write: Write) -> None:
    (tmp_path / "lengths.csv").write_text("length\n4096\n4096\n")
    job = load_job(write(JOB.replace("seq_len: 8K", "lengths: lengths.csv")))
    assert job.training.seq_len == 4096
    constant = load_job(
        {
            **mapping(),
            "training": {"global_batch": 8, "lengths": {"distribution": "constant", "length": "2K"}},
        }
    )
    assert constant.training.seq_len == 2048


def test_model_and_cluster_files_are_found_beside_the_job(tmp_path: Path, write: Write) -> None:
    (tmp_path / "small.yaml").write_text(
        "layers: 2\nhidden: 64\nheads: 4\nffn_hidden: 256\nvocab: 1000\nseq_len: 128\n"
    )
    job = load_job(write(JOB.replace("model: llama3-8b", "model: small.yaml").replace("8K", "128")))
    assert job.model.layers == 2
    # The source stands alone: loading it from anywhere gives the same model.
    again = load_job(dict(job.source))
    assert again.model == job.model


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("global_batch: 32", "global_bach: 32", 5, "training.global_bach", "did you mean 'global_batch'?"),
        ("model: llama3-8b", "modle: llama3-8b", 1, "modle", "did you mean 'model'?"),
        ("model: llama3-8b", "model: llama3-8bb", 1, "model", "llama3-8b"),
        ("cluster: h100-superpod", "cluster: h100-superpot", 2, "cluster", "h100-superpod"),
        ("cluster: h100-superpod", "cluster: missing.yaml", 2, "cluster", "does not exist"),
        ("devices: 16", "devices: 0", 3, "devices", "1"),
        ("devices: 16", "devices: -8", 3, "devices", "negative"),
        ("devices: 16", "devices: 13", 3, "devices", "13"),
        ("devices: 16", "devices: 1000000000000", 3, "devices", "16,384"),
        ("devices: 16", "devices: many", 3, "devices", "whole number"),
        ("global_batch: 32", "global_batch: 0", 5, "training.global_batch", "1"),
        ("global_batch: 32", "global_batch: 2.5", 5, "training.global_batch", "whole number"),
        ("global_batch: 32", "global_batch: .nan", 5, "training.global_batch", "whole number"),
        ("global_batch: 32", "global_batch: [1, 2]", 5, "training.global_batch", "whole number"),
        (
            "global_batch: 32",
            "global_batch_tokens: 9000",
            5,
            "training.global_batch_tokens",
            "nearest: 8192 or 16384",
        ),
        ("  global_batch: 32\n", "", 4, "training.global_batch", "required"),
        ("seq_len: 8K", "seq_len: 8 parsecs", 6, "training.seq_len", "whole number"),
        ("seq_len: 8K", "seq_len: 8K\n  precision: fp7", 7, "training.precision", "fp"),
        ("seq_len: 8K", "seq_len: 8K\n  precision: nvfp4", 7, "training.precision", "bf16"),
        ("seq_len: 8K", "seq_len: 8K\n  optimizer: adam", 7, "training.optimizer", "adamw"),
        ("seq_len: 8K", "seq_len: 8K\n  framework: megatron", 7, "training.framework", "megatron-lm"),
        ("seq_len: 8K", "seq_len: 8K\n  attention: flsh", 7, "training.attention", "flash"),
        ("seq_len: 8K", "seq_len: 8K\n  dropout: 1.5", 7, "training.dropout", "1"),
        ("seq_len: 8K", "seq_len: 8K\n  capture: [attn, mpl]", 7, "training.capture", "'mlp'"),
        ("seq_len: 8K", "seq_len: 8K\n  capture: partly", 7, "training.capture", "true, false or a list"),
        ("seq_len: 8K", "seq_len: 8K\n  gradient_dtype: fp64", 7, "training.gradient_dtype", "fp16"),
        ("seq_len: 8K", "seq_len: 8K\n  fp8_recipe: rowwise", 7, "training.fp8_recipe", "fp8"),
        ("seq_len: 8K", "seq_len: 8K\n  overlap: {tpp: true}", 7, "training.overlap", "did you mean 'tp'?"),
        ("seq_len: 8K", "seq_len: 8K\n  overlap: {tp: 1.5}", 7, "training.overlap", "0 to 1"),
        (
            "seq_len: 8K",
            "seq_len: 8K\n  moe: {router_imbalance: 0.5}",
            7,
            "training.moe.router_imbalance",
            "1",
        ),
        ("seq_len: 8K", "seq_len: 8K\n  moe: {router_imbalance: 1.5}", 7, "training.moe", "no experts"),
        ("seq_len: 8K", "lengths: {distribution: lognormal}", 6, "training.lengths", "packing"),
        ("seq_len: 8K", "lengths: nowhere.csv", 6, "training.lengths", "cannot be read"),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {objective: speed}\n", 7, "search.objective", "step_time"),
        (
            "seq_len: 8K\n",
            "seq_len: 8K\nsearch: {objective: cost}\n",
            7,
            "search.objective",
            "price_per_device_hour",
        ),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {objective: devices}\n", 7, "search.target", "tokens_per_s"),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {fix: {tpp: 8}}\n", 7, "search.fix", "did you mean"),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {allow: {recompute: []}}\n", 7, "search.allow", "empty list"),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {limit: {tp: 0}}\n", 7, "search.limit", "1 or more"),
        ("seq_len: 8K\n", "seq_len: 8K\nsearch: {memory_reserve: 120%}\n", 7, "search.memory_reserve", "1"),
        (
            "seq_len: 8K\n",
            "seq_len: 8K\nsearch: {fix: {tp: 8}, limit: {tp: 4}}\n",
            7,
            "search.fix.tp",
            "at most 4",
        ),
        ("training:\n  global_batch: 32\n  seq_len: 8K\n", "training: 3\n", 4, "training", "mapping"),
    ],
)
def test_a_faulty_job_is_one_line_with_file_line_and_field(
    write: Write, old: str, new: str, line: int, field: str, words: str
) -> None:
    assert old in JOB
    path = write(JOB.replace(old, new, 1))
    with pytest.raises(PlannerError) as caught:
        load_job(path)
    error = caught.value
    assert error.exit_code == 2
    assert "\n" not in str(error)
    assert (error.file, error.field) == (str(path), field)
    assert error.line == line
    assert words in error.message


def test_learned_positions_bound_the_sequence() -> None:
    # GPT-3 has 2,048 learned positions (Brown et al. 2020, table 2.1).
    job = {"model": "gpt3-175b", "cluster": "a100-superpod", "devices": 64}
    load_job({**job, "training": {"global_batch": 64, "seq_len": 2048}})
    with pytest.raises(PlannerError, match="2048 learned positions"):
        load_job({**job, "training": {"global_batch": 64, "seq_len": 4096}})


def test_a_precision_that_the_accelerator_lacks_names_those_it_has() -> None:
    # Ampere has no 8-bit floating point tensor cores.
    job = {"model": "llama3-8b", "cluster": "a100-superpod", "devices": 8}
    with pytest.raises(PlannerError, match="a100-sxm-80gb lacks; it has: bf16, fp16, fp32"):
        load_job({**job, "training": {"global_batch": 8, "precision": "fp8"}})


@pytest.mark.parametrize("content", ["", "- 1\n- 2\n", "just words\n", "a: &a [*a]\n", "a: 1\na: 2\n"])
def test_files_that_are_no_job(write: Write, content: str) -> None:
    path = write(content)
    with pytest.raises(PlannerError) as caught:
        load_job(path)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)


def test_missing_binary_and_directory(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x00\xff\x00")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(PlannerError) as caught:
            load_job(path)
        assert caught.value.file == str(path)
