"""Both solvers behind PuLP: HiGHS through highspy, CBC through the binary that PuLP brings."""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pulp

from planner.solvers.linear.programme import Floats, Programme
from planner.solvers.linear.pulp_model import pulp_problem

_CBC_BOUND = r"Lower bound:\s+(\S+)"
"""In CBC's log when it stopped before the search was done."""
_CBC_RELAXATION = r"Continuous objective value is (\S+)"


@dataclass(frozen=True)
class Limits:
    """When a solver may stop, and what makes it repeat itself."""

    time_limit_s: float | None
    gap: float
    threads: int
    seed: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a solver says: PuLP's ``sol_status``, values per column, a lower bound (NaN when it gives none)."""

    sol_status: int
    values: Floats | None
    bound: float


class ArrayHighs(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's HiGHS fed with arrays at once instead of one column and row after the other, and with a start."""

    def __init__(self, programme: Programme, start: Floats | None, **options: Any) -> None:
        super().__init__(**options)
        self.programme = programme
        self.start = start

    def buildSolverModel(self, lp: Any) -> None:
        """Pass the programme; columns and rows keep their order."""
        programme, model = self.programme, highspy.HighsLp()
        model.num_col_, model.num_row_ = programme.columns, programme.rows
        model.col_cost_, model.col_lower_, model.col_upper_ = programme.cost, programme.lower, programme.upper
        model.row_lower_, model.row_upper_ = programme.row_lower, programme.row_upper
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = programme.matrix.indptr
        model.a_matrix_.index_ = programme.matrix.indices
        model.a_matrix_.value_ = programme.matrix.data
        if programme.integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            model.integrality_ = [kinds[whole] for whole in programme.integer.astype(int).tolist()]
        lp.solverModel.passModel(model)
        if self.start is not None:
            given = highspy.HighsSolution()
            given.col_value = self.start.tolist()
            lp.solverModel.setSolution(given)

    def callSolver(self, lp: Any) -> None:
        """Run; when only "infeasible or unbounded" comes out, ask again without presolve."""
        lp.solverModel.run()
        if lp.solverModel.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            lp.solverModel.setOptionValue("presolve", "off")
            lp.solverModel.run()


def run_highs(programme: Programme, limits: Limits, start: Floats | None) -> Outcome:
    """Solve by HiGHS; the bound comes from highspy, since PuLP passes none on."""
    problem, variables = pulp_problem(programme)
    solver = ArrayHighs(
        programme,
        start,
        msg=False,
        gapRel=limits.gap,
        threads=limits.threads,
        timeLimit=limits.time_limit_s,
        random_seed=limits.seed,
    )
    problem.solve(solver)
    info = problem.solverModel.getInfo()
    whole = programme.integer.any()
    optimal = problem.sol_status == pulp.LpSolutionOptimal
    if whole:
        bound = float(info.mip_dual_bound)
    else:
        bound = float(info.objective_function_value) if optimal else math.nan
    return Outcome(problem.sol_status, _values(variables), bound)


def run_cbc(programme: Programme, limits: Limits, start: Floats | None) -> Outcome:
    """Solve by CBC; the bound comes from its log."""
    problem, variables = pulp_problem(programme)
    if start is not None:
        for variable, value in zip(variables, start.tolist(), strict=True):
            variable.varValue = value
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "cbc.log"
        solver = pulp.COIN_CMD(
            path=pulp.PULP_CBC_CMD.pulp_cbc_path,
            msg=False,
            gapRel=limits.gap,
            threads=limits.threads,
            timeLimit=limits.time_limit_s,
            warmStart=start is not None,
            options=[f"randomSeed {limits.seed}", f"randomCbcSeed {limits.seed}"],
            logPath=str(log),
        )
        solver.tmpDir = folder
        problem.solve(solver)
        text = log.read_text(encoding="utf-8", errors="replace")
    status = problem.sol_status
    if status == pulp.LpSolutionNoSolutionFound and problem.status == pulp.LpStatusInfeasible:
        status = (
            pulp.LpSolutionInfeasible
        )  # "Integer infeasible" is missing in PuLP's table of CBC's solutions
    return Outcome(status, _values(variables), _cbc_bound(text, status == pulp.LpSolutionOptimal))


def _cbc_bound(log: str, optimal: bool) -> float:
    """NaN when there is none, which for an optimal solution means that its own objective is the bound."""
    found = re.findall(_CBC_BOUND, log) or ([] if optimal else re.findall(_CBC_RELAXATION, log))
    return float(found[-1]) if found else math.nan


def _values(variables: list[Any]) -> Floats | None:
    values = [variable.varValue for variable in variables]
    return None if any(value is None for value in values) else np.array(values, np.float64)
