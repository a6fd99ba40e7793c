"""Plans as styles of ``parallelize_module``: by hand for Llama, and applied by PyTorch itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.types import OperatorGraph
from planner.solvers.sharding import data_parallel, extract, two_rules
from planner.solvers.sharding.styles import ModuleStyle, parallel_styles
from tests.solvers.sharding.test_models import problem_of

LAYERS = """
import sys
sys.path.insert(0, {examples!r})
import torch
from llama import Layer
def make():
    return torch.nn.Sequential(*(Layer(64, 8, 4, 128) for _ in range(2))), (torch.ones(2, 16, 64),)
"""

APPLIED = """
import json, sys
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore
from planner.models.operator_graph.torch_export import module_of
from planner.validation.structure.calls import CallCounter

source, styles = sys.argv[1], json.loads(sys.argv[2])
distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
module, inputs = module_of(source)
def layout(text): return Replicate() if text == "R" else Shard(int(text[1:]))
kinds = {"ColwiseParallel": ColwiseParallel, "RowwiseParallel": RowwiseParallel}
plan = {
    name: kinds[style](input_layouts=layout(before), output_layouts=layout(after)) for name, style, before, after in styles
}
parallelize_module(module, init_device_mesh("cpu", (4,)), plan)
with CallCounter(str) as counter:
    module(*inputs)
print(json.dumps([[call.collective, call.nbytes, count] for call, count in counter.calls.items()]))
"""


def test_llama_is_megatrons(example: Callable[[str], OperatorGraph]) -> None:
    graph = example("llama")
    problem = problem_of(graph, 4)
    styles = parallel_styles(graph, extract(problem, two_rules(problem)))
    columns, rows = ("ColwiseParallel", "R", "S2"), ("RowwiseParallel", "S2", "R")
    expected = {"embedding": ("RowwiseParallel", "R", "R"), "head": columns}
    for layer in ("layers.0", "layers.1"):
        expected |= {f"{layer}.{name}": columns for name in ("q", "k", "v", "gate", "up")}
        expected |= {f"{layer}.{name}": rows for name in ("o", "down")}
    assert {each.module: (each.style, each.inputs, each.outputs) for each in styles.modules} == expected
    assert all("loss_parallel" in text for text in styles.unsaid)


def test_what_styles_cannot_say(example: Callable[[str], OperatorGraph]) -> None:
    """Data parallelism needs none; GPT-2's fused weight is no plain split."""
    llama, gpt2 = example("llama"), example("gpt2")
    problem = problem_of(llama, 4)
    styles = parallel_styles(llama, extract(problem, data_parallel(problem)))
    assert styles.modules == ()
    assert styles.unsaid == ()
    problem = problem_of(gpt2, 2, 2)
    fused = parallel_styles(gpt2, extract(problem, two_rules(problem)))
    assert "h.0.c_attn: each part of its fused weight is split by itself" in fused.unsaid
    assert ModuleStyle("h.0.up", 1, "ColwiseParallel", "R", "S2") in fused.modules
    assert not any(each.module.endswith("c_attn") for each in fused.modules)


def test_parallelize_module_makes_the_planned_collectives(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four ranks, faked: forward collectives of PyTorch's own tensor parallelism are the plan's, bytes included."""
    file = tmp_path / "layers.py"
    file.write_text(LAYERS.format(examples=str(root / "examples" / "operator_graphs")))
    monkeypatch.syspath_prepend(str(root / "examples" / "operator_graphs"))
    graph = load_graph(f"{file}:make", block=True)
    problem = problem_of(graph, 4, block=True)
    plan = extract(problem, two_rules(problem))
    styles = parallel_styles(graph, plan)
    assert styles.unsaid == ()
    told = [[each.module, each.style, each.inputs, each.outputs] for each in styles.modules]
    command = [sys.executable, "-c", APPLIED, f"{file}:make", json.dumps(told)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=root)
    made = {
        (collective, nbytes): count
        for collective, nbytes, count in json.loads(result.stdout.splitlines()[-1])
    }
    priced = Counter((sent.collective, sent.bytes) for sent in plan.sent() if sent.in_pass == "forward")
    assert made == dict(priced) == {("all_reduce", 2 * 16 * 64 * 4): 4}
