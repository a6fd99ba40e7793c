"""``plan shard``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.cli.main import run
from planner.cli.shard import command
from planner.documents import load_document

# A parameter may bear the name of an operator.
GRAPH = """
inputs: {x: "bfloat16[512,4096]"}
parameters: {up: "bfloat16[16384,4096]", narrow: "bfloat16[4096,16384]"}
values: {a: "bfloat16[512,16384]", b: "bfloat16[512,16384]", y: "bfloat16[512,4096]"}
outputs: [y]
operators:
  - {call: aten.linear, arguments: [$x, $up], outputs: [a], name: up}
  - {call: aten.gelu, arguments: [$a], outputs: [b], name: gelu}
  - {call: aten.linear, arguments: [$b, $narrow], outputs: [y], name: down}
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("graph") / "mlp.yaml"
    file.write_text(GRAPH)
    return str(file)


def shard(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, env={"COLUMNS": "140"}, catch_exceptions=False)


def answer(*arguments: str) -> dict[str, Any]:
    result = shard(*arguments, "--json")
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json_tells_the_whole_plan(graph: str) -> None:
    found = answer(graph, "--mesh", "8", "--why", "up")
    assert found["mesh"] == [8]
    assert found["certificate"]["status"] == "optimal"
    assert found["certificate"]["lower_bound_s"] == pytest.approx(found["seconds"], rel=1e-6)
    assert found["kernels_s"] + found["forward_s"] + found["backward_s"] == pytest.approx(found["seconds"])
    assert found["stored"]["up"] == ["S0"]
    assert found["stored"]["narrow"] == ["S1"]
    assert [item["split"] for item in found["operators"]] == [["out"], ["d1"], ["in"]]
    (sent,) = [item for item in found["transitions"] if any(step["collective"] for step in item["forward"])]
    assert sent["forward"][0]["bytes"] == 512 * 4096 * 2
    assert all(rival["seconds"] >= found["seconds"] * (1 - 1e-9) for rival in found["rivals"].values())
    assert all(item["kept_s"] >= 0 for item in found["why"][0]["others"])


def test_tables_name_splits_calls_and_proof(graph: str) -> None:
    result = shard(graph, "--mesh", "8", "--explain", "--why", "down")
    assert result.exit_code == 0
    for words in (
        "linear programme",
        "two rules",
        "all-reduce 4.19 MB",
        "proved",
        "rest chosen again",
        "Next best",
    ):
        assert words in result.stdout, words


def test_files_are_written(graph: str, tmp_path: Path) -> None:
    plan, programme = tmp_path / "plan.yaml", tmp_path / "shard.lp"
    result = shard(graph, "--mesh", "2x4", "-o", str(plan), "--write-lp", str(programme), "-q")
    assert result.exit_code == 0
    assert "Subject To" in programme.read_text()
    written = load_document(plan).data
    assert written["mesh"] == [2, 4]
    assert set(written["operators"]) == {"up", "gelu", "down"}
    assert written["prediction"]["certificate"]["status"] == "optimal"


def test_rules_instead_of_the_programme(graph: str) -> None:
    found = answer(graph, "--mesh", "8", "--rules", "auto")
    assert found["chosen_by"] == "two rules"
    assert found["certificate"] is None
    assert found["seconds"] == found["rivals"]["two rules"]["seconds"]


def test_inference_sends_nothing_back(graph: str) -> None:
    found = answer(graph, "--mesh", "8", "--inference")
    assert found["backward_s"] == 0
    assert found["bytes"] < answer(graph, "--mesh", "8")["bytes"]


def test_cbc_agrees(graph: str) -> None:
    found = [answer(graph, "--mesh", "8", "--back-end", name)["seconds"] for name in ("highs", "cbc")]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--mesh", "2x2x2"], 2, "--mesh"),
        (["--mesh", "8", "--memory", "10MB"], 1, "memory of one rank"),
        (["--mesh", "8", "--memory", "lots"], 2, "--memory"),
        (["--mesh", "8", "--why", "donw"], 2, "did you mean 'down'"),
        (["--mesh", "12"], 2, "whole nodes"),
        (["--mesh", "8", "--cluster", "nowhere"], 2, "--cluster: unknown cluster 'nowhere'"),
        (["--mesh", "8", "-o", "/nowhere/plan.yaml"], 2, "/nowhere"),
    ],
)
def test_bad_input_is_one_line(
    graph: str, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["shard", graph, *arguments]) == code
    told = capsys.readouterr().err
    assert words in told
    assert len(told.strip().splitlines()) == 1


def test_a_mesh_that_divides_nothing_is_told(graph: str) -> None:
    (note,) = answer(graph, "--mesh", "3", "--cluster", "h100-superpod")["notes"]
    assert "by 3 on mesh dimension 0" in note


def test_views_alone_cost_nothing(tmp_path: Path) -> None:
    file = tmp_path / "views.yaml"
    file.write_text(
        'inputs: {x: "float32[8,64]"}\nvalues: {y: "float32[64,8]"}\noutputs: [y]\n'
        "operators:\n  - {call: aten.transpose, arguments: [$x, 0, 1], outputs: [y]}\n"
    )
    assert shard(str(file), "--mesh", "2x2", "--explain", "--why", "y").exit_code == 0
    assert answer(str(file), "--mesh", "2x2")["seconds"] == 0


def test_narrow_terminals_keep_names_and_numbers(graph: str) -> None:
    result = CliRunner().invoke(command, [graph, "--mesh", "8"], env={"COLUMNS": "80"})
    assert "> linear programme" in result.stdout
    assert "sent forward" not in result.stdout
    assert "…" not in result.stdout
