"""``plan validate structure``: bad input is one line and exit code 2."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from planner.cli.validate_structure import command
from planner.errors import PlannerError


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--case", "8B FSDP 9"], "8B FSDP 8"),
        (["--workers", "many"], "--workers"),
        (["no-plan.yaml"], "no-plan.yaml"),
    ],
)
def test_bad_input(arguments: list[str], named: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, PlannerError)
    assert result.exception.exit_code == 2
    assert named in str(result.exception)
