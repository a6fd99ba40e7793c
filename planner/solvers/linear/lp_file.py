"""Writes a programme as an LP file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from planner.documents.writing import write_text
from planner.solvers.linear.programme import Programme
from planner.solvers.linear.pulp_model import pulp_problem


def write_lp(programme: Programme, path: str | Path) -> None:
    """Write the programme in CPLEX' LP format, which every solver reads, whole or not at all.

    Raises:
        PlannerError: the file cannot be written.
    """
    problem, _ = pulp_problem(programme)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "programme.lp"
        problem.writeLP(str(draft))
        write_text(path, draft.read_text(encoding="utf-8"))
