"""One malformed input, and how each is made from a sound one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

JOB = """\
model: llama3-8b
cluster: h100-superpod
devices: 16
training:
  global_batch: 32
  seq_len: 4096
  precision: bf16
  optimizer: adamw
  framework: megatron-core
search:
  fix: {tp: 8}
"""
CLUSTER = """\
accelerator: h100-sxm-80gb
nodes: 2
devices_per_node: 8
network:
  - name: nvlink
    size: 8
    bandwidth: 450 GB/s
    latency: 2 us
  - name: infiniband
    size: 16
    bandwidth: 400 Gb/s
    latency: 5 us
"""
MODEL = """\
layers: 4
hidden: 256
heads: 8
ffn_hidden: 1024
vocab: 32000
seq_len: 1024
"""
PLAN = """\
job:
  model: llama3-8b
  cluster: h100-superpod
  devices: 16
  training: {global_batch: 32, seq_len: 4096}
layout: {tp: 8, micro_batch: 1}
"""
CONFIG = '{\n "architectures": ["LlamaForCausalLM"],\n "hidden_size": 256,\n "num_attention_heads": 8\n}\n'
ESTIMATE = "estimate job.yaml --layout tp=8 -o out.yaml"
SEARCH = "search job.yaml -o out.yaml --plot out.png"


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Args:
        name: what is wrong.
        argv: the command line, split at spaces.
        place: file and line that the message starts with; empty where the fault stands on the command line.
        field: the field that it names; empty for faults of a whole file.
        words: what it must say besides.
        files: content by name, written to the working directory first.
    """

    name: str
    argv: str
    place: str
    field: str
    words: str
    files: Mapping[str, str | bytes]


def edited(text: str, old: str, new: str) -> str:
    """The text with its only ``old`` replaced."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} does not stand once in the text")
    return text.replace(old, new)


def job_case(name: str, old: str, new: str, place: str, field: str, words: str, argv: str = ESTIMATE) -> Case:
    return Case(name, argv, place, field, words, {"job.yaml": edited(JOB, old, new)})


def layout_case(
    name: str, knobs: str, field: str, words: str, argv: str = "estimate job.yaml -o out.yaml"
) -> Case:
    return Case(name, f"{argv} --layout {knobs}", "", field, words, {"job.yaml": JOB})


def cluster_case(
    name: str, old: str, new: str, place: str, field: str, words: str, argv: str = ESTIMATE
) -> Case:
    job = edited(JOB, "cluster: h100-superpod", "cluster: ./cluster.yaml")
    return Case(name, argv, place, field, words, {"job.yaml": job, "cluster.yaml": edited(CLUSTER, old, new)})


def model_case(name: str, text: str, place: str, field: str, words: str, file: str = "model.yaml") -> Case:
    return Case(name, f"models show ./{file}", place, field, words, {file: text})


def plan_case(name: str, old: str, new: str, place: str, field: str, words: str, argv: str) -> Case:
    return Case(name, argv, place, field, words, {"plan.yaml": edited(PLAN, old, new), "good.yaml": PLAN})


def file_case(name: str, content: str | bytes, place: str, words: str, argv: str = ESTIMATE) -> Case:
    return Case(name, argv, place, "", words, {"job.yaml": content})


def command_case(name: str, argv: str, field: str, words: str) -> Case:
    return Case(name, argv, "", field, words, {"job.yaml": JOB})
