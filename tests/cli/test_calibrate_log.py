"""``plan calibrate log``: from pasted logs to a calibration that predictions use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.cli.main import run
from planner.costs.collectives import Group
from planner.hardware.calibration import alone
from planner.hardware.loader import load_cluster
from planner.validation.collectives.compare import compare_collectives

LOGS = Path(__file__).resolve().parents[1] / "data" / "logs"

CLUSTER = """accelerator: h100-sxm-80gb
nodes: 2
devices_per_node: 8
network:
  - {name: nvlink, kind: nvlink4-sharp, size: 8}
  - {name: infiniband, kind: infiniband-ndr, size: 16}
calibration: network.yaml
"""


def test_a_log_becomes_a_calibration_that_a_cluster_uses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, points = tmp_path / "network.yaml", tmp_path / "points.yaml"
    arguments = ["calibrate", "log", str(LOGS / "h100-2x8.txt"), "--cluster", "h100-superpod", "--json"]
    assert run([*arguments, "-o", str(target), "--points", str(points)]) == 0
    (test,) = json.loads(capsys.readouterr().out)["tests"]
    assert (test["collective"], test["ranks"], test["ranks_per_node"]) == ("all_reduce", 16, 8)
    worst = {
        name: max(abs(point[name]) for point in test["points"]) for name in ("error_before", "error_after")
    }
    assert worst["error_after"] < 0.5 * worst["error_before"]
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    cluster = alone(load_cluster("cluster.yaml", base=tmp_path))
    (line,) = Group(cluster, 16).table("all_reduce", [2.0**33])
    assert line.seconds == pytest.approx(47.6e-3, rel=0.15)  # 47,535 and 47,743 us in the log
    assert len(compare_collectives([points]).points) == 18


def test_without_a_cluster_an_unknown_network_is_shown_and_not_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["calibrate", "log", str(LOGS / "h100-2x8.txt"), "-o", str(tmp_path / "network.yaml")]
    assert run(arguments) == 1
    assert "network not stated" in capsys.readouterr().err
    assert not (tmp_path / "network.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eight-ranks-no-heading.txt"], "--cluster"),
        (["eight-ranks-no-heading.txt", "--cluster", "h100-superpod", "--ranks-per-node", "3"], "half empty"),
        (["broadcast-concluded.txt", "--cluster", "h100-superpod"], "--ranks"),
        (["h100-2x8.txt", "--ranks", "0"], "at least 1"),
        (["h100-2x8.txt", "--collective", "all_reduc"], "all_reduce"),
        (["h100-2x8.txt", "-o", "/nowhere/network.yaml"], "folder"),
        (["missing.txt"], "does not exist"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["calibrate", "log", str(LOGS / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
