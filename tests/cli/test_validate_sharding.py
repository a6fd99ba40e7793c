"""``plan validate sharding``: bad input is one line and exit code 2, and the table says what differs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.validate_sharding import command
from planner.errors import NoAnswerError, PlannerError
from planner.solvers.sharding import ShardingPlan
from planner.validation.sharding.runs import RankOutcome, SentCall, ShardingRun
from planner.validation.sharding.study import ShardingOutcome


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--random", "few"], "--random"),
        (["--plan", "best", "none.py:make"], "unknown plan 'best'"),
        (["--mesh", "2x2x2", "none.py:make"], "accepted: N or NxM"),
        (["none.py:make"], "none.py"),
        (["graph.txt"], "graph.txt"),
    ],
)
def test_bad_input(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, PlannerError)
    assert result.exception.exit_code == 2
    assert named in str(result.exception)


def test_what_differs_is_shown_and_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ShardingPlan("mlp", (2,), {}, (), (), (), True)
    priced = Counter({SentCall("all_reduce", 0, "forward", 1024): 1})
    outcome = ShardingOutcome(
        ShardingRun("mlp.py:make", plan), priced, (RankOutcome(0.0, 1e-16, "w", 4, {}),)
    )
    monkeypatch.setattr("planner.validation.sharding.study.run_shardings", lambda *_, **__: [outcome])
    source = str(Path("examples/operator_graphs/mlp.py")) + ":make_module"
    result = CliRunner().invoke(command, [source, "--mesh", "2", "--plan", "two rules"])
    assert isinstance(result.exception, NoAnswerError)
    assert "1 of 1 plans differ" in str(result.exception)
    assert "all_reduce of 1024 bytes on mesh dimension 0 in forward: 0 made, 1 priced" in result.output
