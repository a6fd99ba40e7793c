"""Models captured by torch.export: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from planner.errors import PlannerError
from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.torch_export import module_of

EXAMPLES = Path("examples/operator_graphs")
MODELS = ("bert", "t5", "moe")


@pytest.mark.parametrize("name", MODELS)  # GPT-2 and ViT: beside their ONNX files; Llama: where it is planned
def test_examples_are_known_through_and_through(name: str) -> None:
    source = f"{EXAMPLES / name}.py:make_module"
    graph = load_graph(source)
    assert all(operator.kind != "opaque" for operator in graph.operators)
    module, inputs = module_of(source)
    parameters = dict(module.named_parameters())
    found = {value.part_of or value.name for value in graph.values.values() if value.kind == "parameter"}
    assert found == set(parameters)
    elements = dict.fromkeys(parameters, 0)
    for value in graph.values.values():
        if value.kind == "parameter":
            elements[value.part_of or value.name] += value.elements
    assert elements == {name: tensor.numel() for name, tensor in parameters.items()}
    assert graph.values[graph.outputs[0]].shape == ()
    assert sum(operator.flops for operator in graph.operators) == counted_flops(module, inputs)
    assert len(graph.representatives) > 0.35 * len(graph.operators)  # two equal layers of each kind


def counted_flops(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """As PyTorch's counter has them; on the CPU it has no formula for attention, so attention is written out."""
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        module(*inputs)
    return int(counter.get_total_flops())


class Shared(nn.Module):
    """A head that is the embedding's own table, by assignment."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 4)
        self.head = nn.Linear(4, 8, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        y: Tensor = self.head(self.table(ids))
        return y


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin() if x.sum() > 0 else x.cos()


class Odd(nn.Module):
    """Writes in place, copies, a value that nobody reads, an operator without a rule, one more output."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clone().contiguous()
        y.add_(1.0)
        x.exp()
        return torch.fft.fft(y).real, y.detach()


def written(folder: Path, text: str) -> str:
    file = folder / "model.py"
    file.write_text("import torch\nfrom torch import nn\n" + text)
    return f"{file}:make"


def test_a_shared_table_is_one_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _graph(Shared(), "int64[2,4]", tmp_path, monkeypatch)
    tables = [value for value in graph.values.values() if value.kind == "parameter"]
    assert len(tables) == 1
    assert len(graph.consumers[tables[0].name]) == 2


def test_what_carries_no_choice_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _graph(Odd(), "float32[4,8]", tmp_path, monkeypatch)
    assert graph.operators[0].target == "aten.add"
    assert "aten.exp" not in {operator.target for operator in graph.operators}
    assert any("no rule is known" in note and "fft" in note for note in graph.notes)
    assert len(graph.outputs) == 2
    assert not any(value.gradient for value in graph.values.values())


def test_gradients_of_a_block_reach_its_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _graph(nn.Linear(4, 2), "float32[8,4]", tmp_path, monkeypatch)
    assert not graph.values["input"].gradient
    assert _graph(nn.Linear(4, 2), "float32[8,4]", tmp_path, monkeypatch, block=True).values["input"].gradient


def _graph(
    module: nn.Module, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, block: bool = False
):  # type: ignore[no-untyped-def]
    monkeypatch.setattr("planner.models.operator_graph.user_module.module_of", lambda _: module)
    (folder / "any.py").touch()
    return load_graph(f"{folder}/any.py:make", (text,), block=block)


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("def make(): return 3", (), "gives int, not a torch.nn.Module"),
        ("def make(): return nn.Linear(2, 2)", (), "gives no example inputs"),
        ("def make(): raise ValueError('no weights')", (), "make() fails: ValueError: no weights"),
        ("def other(): pass", (), "has no function 'make'"),
        ("import no_such_module", (), "cannot be imported"),
        ("def make(): return nn.Linear(2, 2)", ("float32[4,3]",), "torch.export cannot capture Linear"),
        ("def make(): return nn.Linear(2, 2)", ("float32[4,0]",), "every length is at least 1"),
        ("def make(): return nn.Linear(2, 2)", ("flaot32[4,2]",), "did you mean 'float32'?"),
        ("def make(): return nn.Linear(2, 2)", ("4,2",), "accepted: an element type and lengths"),
        ("def make(): return nn.Linear(2, 2)", ("float32[4 2]",), "lengths are numbers between commas"),
        ("def make(): return nn.Linear(2, 2)", ("float32[99999999999999,2]",), "do not fit into memory"),
        ("def make(): return nn.Linear(2, 2), 5", (), "inputs that are no tuple of tensors"),
        ("def make(): return nn.Identity(), (torch.ones(2),)", (), "nothing to shard"),
        ("def make(): raise SystemExit(3)", (), "make() fails: SystemExit: 3"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, text: str, inputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlannerError) as found:
        load_graph(written(tmp_path, text), inputs)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_modules_may_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "print('module')\ndef make():\n  print('make')\n  return nn.Linear(2, 2), (torch.ones(2, 2),)"
    load_graph(written(tmp_path, text))
    told = capsys.readouterr()
    assert told.out == ""
    assert "make" in told.err


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_numbers_out_of_tensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlannerError, match="reads a number out of a tensor"):
        _graph(Item(), "float32[4]", tmp_path, monkeypatch)


def test_a_graph_break_names_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlannerError, match=r"torch\.export cannot capture Branches"):
        _graph(Branches(), "float32[4]", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.txt", "accepted: MODEL.py:FUNCTION"),
        ("none.pt2", "no such file"),
        ("examples", "accepted: MODEL.py:FUNCTION"),
        ("none.onnx", "no such file"),
        ("none.py:make", "no such file"),
    ],
)
def test_files_that_are_none(text: str, message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        load_graph(text)


def test_exported_programs_are_the_modules_that_they_came_from(tmp_path: Path) -> None:
    module, inputs = module_of(f"{EXAMPLES}/mlp.py:make_module")
    torch.export.save(torch.export.export(module, inputs), tmp_path / "mlp.pt2")
    saved, live = load_graph(str(tmp_path / "mlp.pt2")), load_graph(f"{EXAMPLES}/mlp.py:make_module")
    assert saved.operators == live.operators
    assert dict(saved.values) == dict(live.values)
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(b"no program")
    with pytest.raises(PlannerError, match="not an ExportedProgram"):
        load_graph(str(broken))
    with pytest.raises(PlannerError, match="leave --input out"):
        load_graph(str(tmp_path / "mlp.pt2"), ("float32[8,64]",))
