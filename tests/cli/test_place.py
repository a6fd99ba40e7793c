"""``plan place``: axis orders, nodes, host files, pictures, and its mention by ``plan search``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.cli.main import run

JOB = """
model: llama3-8b
cluster:
  accelerator: h100-sxm-80gb
  nodes: 6
  devices_per_node: 8
  network:
    - {name: nvlink, kind: nvlink4-sharp, size: 8}
    - {name: infiniband, kind: infiniband-ndr}
LINKS
devices: 32
training: {global_batch: 64, seq_len: 4096, precision: bf16, framework: megatron-core}
search: {fix: {tp: 8, cp: 1, recompute: none, offload: null, schedule: 1f1b, vpp: 1, zero_stage: 1}}
"""
LAYOUT = ["--layout", "tp=8,pp=4,micro_batch=1"]
PLAN = ["--layout", "tp=8,pp=2,micro_batch=1,zero_stage=1"]


def rates(slow: list[tuple[int, int]], nodes: int = 6) -> str:
    """A matrix of equal links but for some slow pairs."""
    table = np.full((nodes, nodes), 250.0)
    for a, b in slow:
        table[a, b] = table[b, a] = 25.0
    return "\n".join(",".join(f"{rate:g}" for rate in row) for row in table) + "\n"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job on four of six nodes whose links were measured."""
    file = tmp_path / "job.yaml"
    (tmp_path / "links.csv").write_text(rates([(0, 1), (2, 3), (1, 4)]))
    file.write_text(JOB.replace("LINKS", "  links: links.csv"))
    return file


def place(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["place", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer = json.loads(captured.out)
    assert isinstance(answer, dict)
    return answer


def test_slow_links_are_avoided(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = place(job, *LAYOUT, capsys=capsys)
    found = answer["placement"]
    assert found["proved"]
    assert found["gap"] == 0.0
    assert found["method"] == "exhaustive"
    assert {tuple(link[end] for end in ("from", "to")) for link in found["links"]["avoided"]} == {
        ("node-0", "node-1"), ("node-1", "node-0"), ("node-2", "node-3"), ("node-3", "node-2"),
    }  # fmt: skip
    assert found["links"]["still_used"] == []
    assert found["cost_s"] < found["rank_order_cost_s"]
    times = found["step_time_s"]
    assert times["placed"] < times["rank_order"]
    assert [(row["first_rank"], row["last_rank"]) for row in found["ranks"]] == [
        (0, 7),
        (8, 15),
        (16, 23),
        (24, 31),
    ]
    assert len(found["idle"]) == 2
    assert sorted([row["node"] for row in found["ranks"]] + found["idle"]) == [f"node-{n}" for n in range(6)]
    assert answer["axis_orders"][0]["step_time_s"] == min(
        order["step_time_s"] for order in answer["axis_orders"]
    )


def test_equal_links_change_nothing(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "links.csv").write_text(rates([]))
    found = place(job, *PLAN, capsys=capsys)["placement"]
    assert found["nodes"] == [0, 1, 2, 3]
    assert not found["changed"]
    assert found["method"] == "unchanged"


def test_the_host_file_follows_the_ranks(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts, fresh = tmp_path / "hosts.txt", tmp_path / "new.txt"
    hosts.write_text("# rack 7\n" + "".join(f"h{n} slots=8\n\n" for n in range(6)))
    found = place(job, *LAYOUT, "--hostfile", hosts, "-o", fresh, capsys=capsys)["placement"]
    assert fresh.read_text().splitlines() == ["# rack 7", *(f"h{node} slots=8" for node in found["nodes"])]
    place(job, *LAYOUT, "-o", fresh, capsys=capsys)
    assert fresh.read_text().splitlines() == [f"node-{node}" for node in found["nodes"]]
    hosts.write_text("".join(f"node-{n}:8\n" for n in reversed(range(6))))
    place(job, *LAYOUT, "--hostfile", hosts, "-o", fresh, capsys=capsys)
    assert fresh.read_text().splitlines() == [f"node-{node}:8" for node in found["nodes"]]


def test_people_see_before_and_after(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "links.png"
    assert run(["place", str(job), *PLAN, "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    for text in (
        "Axis orders",
        "rank order",
        "placed",
        "pp hops",
        "dp ring",
        "all permutations tried",
        "proved best",
    ):
        assert text in shown
    assert "avoided: node-0 -> node-1 (25 GB/s, dp)" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_quiet_shows_only_the_transfers(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["place", str(job), *PLAN, "-q"]) == 0
    shown = capsys.readouterr().out
    assert "dp ring" in shown
    assert "Axis orders" not in shown
    assert "Ranks" not in shown


def test_the_example_leaves_the_node_with_broken_cards_idle(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = examples / "placement" / "llama3-70b-measured-links.yaml"
    found = place(job, "--layout", "tp=8,pp=4,micro_batch=1,zero_stage=1", capsys=capsys)["placement"]
    assert found["idle"] == ["gpu-10"]
    assert found["links"]["still_used"] == []
    times = found["step_time_s"]
    assert times["rank_order"] / times["cluster_file"] > 1.05
    assert times["placed"] == pytest.approx(times["cluster_file"], rel=0.01)


def test_without_links_the_orders_are_shown(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = examples / "llama3-8b-h100.yaml"
    assert run(["place", str(job), "--layout", "tp=2,micro_batch=1"]) == 0
    assert "no measured links" in capsys.readouterr().out


def test_search_mentions_the_measured_links(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", str(job), "--top", "1"]) == 0
    assert "plan place" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"links.csv": "1,2\n3,x\n"}, [], "found 'x'|needs 4|2 lines"),
        ({"links.csv": rates([], 3)}, [], "has 3 nodes, the plan needs 4"),
        ({}, ["--hostfile", "none.txt"], "none.txt: does not exist"),
        ({"hosts.txt": "a\nb\n"}, ["--hostfile", "hosts.txt"], "has 2 hosts, the matrix of links 6 nodes"),
        ({"hosts.txt": "a\nb\na\n"}, ["--hostfile", "hosts.txt"], "hosts.txt:3: 'a' stands here twice"),
        (
            {"links.csv": ",a,b,c,d\na,,2,3,4\nb,2,,3,4\nc,2,3,,4\nd,2,3,4,\n", "hosts.txt": "a\nb\nx\nd\n"},
            ["--hostfile", "hosts.txt"],
            "'x' is no node of the matrix",
        ),
        ({"hosts.txt": "# nothing\n"}, ["--hostfile", "hosts.txt"], "holds no host"),
        ({}, ["--plot", "a.gif"], "found the ending '.gif'"),
        ({}, ["-o", "none/hosts"], "does not exist"),
        ({}, ["--layout", "tp=8,pp=4,dp=2"], "dp"),
    ],
)
def test_bad_input_is_one_line(
    job: Path,
    change: dict[str, str],
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(job.parent)
    for name, text in change.items():
        Path(name).write_text(text)
    assert run(["place", str(job), *PLAN, *options]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert any(part in error for part in message.split("|")), error


def test_host_files_need_links(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = examples / "llama3-8b-h100.yaml"
    assert run(["place", str(job), "--layout", "tp=2,micro_batch=1", "-o", "hosts.txt"]) == 2
    assert "need measured links" in capsys.readouterr().err
