"""``plan search --pareto`` and money in its answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.cli.main import run

OPTIONS = (
    *("--set", "search.limit={micro_batch: 1, cp: 1, vpp: 2}", "--set", "search.allow.idle_devices=true"),
    *("--set", "cluster.price_per_device_hour=3.6", "--set", "search.objective=cost", "--top", "2"),
)


def test_axes_and_money(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["search", job, *OPTIONS, "--pareto", "devices,cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pareto_axes"] == ["devices", "cost"]
    points = found["pareto"]
    assert len({point["devices"] for point in points}) == len(points) > 1
    costs = [point["cost_per_million_tokens"] for point in points]
    assert costs == sorted(costs, reverse=True)
    # 3.6 per hour is 0.001 per second; 128 sequences of 8,192 tokens
    assert costs[-1] == pytest.approx(
        points[-1]["devices"] * points[-1]["step_time_s"] * 0.001 / (128 * 8192) * 1e6
    )
    assert costs[-1] == pytest.approx(found["certificate"]["best_per_million_tokens"])
    assert found["money"]["cost_per_million_tokens"][0] == pytest.approx(costs[-1])


def test_tables_show_money_and_axes(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["search", job, *OPTIONS, "--pareto", "memory,cost"]) == 0
    text = capsys.readouterr().out
    assert "Pareto set of memory and cost" in text
    assert text.count("cost/M tokens") == 2


def test_unknown_axes_and_conflicts_are_refused(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    for options, message in (
        (("--pareto", "memory,speed"), "--pareto: unknown axis 'speed'"),
        (("--pareto", "memory,cost", "--stages", "2"), "--pareto"),
    ):
        assert run(["search", job, *options]) == 2
        assert message in capsys.readouterr().err
