"""What a failure study found, for reports and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.simulator.failures.checkpoint import CheckpointCost
from planner.simulator.failures.model import FailureModel
from planner.simulator.failures.monte_carlo import Runs
from planner.simulator.failures.options import FailureOptions


@dataclass(frozen=True)
class IntervalRow:
    """Goodput at one checkpoint interval.

    Args:
        expected: exact, with unlimited spares.
        simulated, standard_error: over all runs, with the spares that there are.
        low, high: 5th and 95th percentile over the runs.
    """

    interval_s: float
    expected: float
    simulated: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class FailureStudy:
    """What failures make of a predicted step.

    Args:
        step_time_s: of an undisturbed step; mfu: its, None when not given.
        interval_s: of the checkpoints, the user's or the best.
        best_interval_s: of the exact expectation, not below one step; young_s, daly_s: the approximations.
        expected: exact goodput at ``interval_s`` with unlimited spares.
        runs: simulated at ``interval_s``.
        table: goodput by interval, ascending.
        assumptions: one line for every default that was used.
    """

    model: FailureModel
    options: FailureOptions
    checkpoint: CheckpointCost
    step_time_s: float
    mfu: float | None
    interval_s: float
    best_interval_s: float
    young_s: float
    daly_s: float
    expected: float
    runs: Runs
    table: tuple[IntervalRow, ...]
    assumptions: tuple[str, ...]

    @property
    def goodput(self) -> float:
        """Exact where the expectation is (unlimited spares), simulated else."""
        return self.expected if self.model.spares is None else self.runs.goodput

    @property
    def expected_step_time_s(self) -> float:
        """Wall time per step that stays done."""
        return self.step_time_s / self.goodput

    @property
    def effective_mfu(self) -> float | None:
        return None if self.mfu is None else self.mfu * self.goodput

    @property
    def device_hours_lost(self) -> float:
        """Over the horizon, all devices of the job; idle spares not counted."""
        return (1.0 - self.goodput) * self.model.devices * self.options.horizon_s / 3600.0

    @property
    def simulated_best_s(self) -> float:
        """The interval of the table with the largest simulated goodput."""
        return max(self.table, key=lambda row: row.simulated).interval_s

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs."""
        return {**self._headline(), **self._simulated(), "assumptions": list(self.assumptions)}

    def _headline(self) -> dict[str, Any]:
        model = self.model
        return {
            "goodput": self.goodput,
            "expected_step_time_s": self.expected_step_time_s,
            "step_time_s": self.step_time_s,
            "effective_mfu": self.effective_mfu,
            "device_hours_lost": self.device_hours_lost,
            "expected_goodput": self.expected,
            "interval_s": self.interval_s,
            "best_interval_s": self.best_interval_s,
            "simulated_best_interval_s": self.simulated_best_s,
            "young_interval_s": self.young_s,
            "daly_interval_s": self.daly_s,
            "devices": model.devices,
            "nodes": model.nodes,
            "device_mtbf_s": model.device_mtbf_s,
            "job_mtbf_s": model.job_mtbf_s,
            "checkpoint": {
                "state_bytes": self.checkpoint.state_bytes,
                "node_bandwidth": self.checkpoint.node_bandwidth,
                "seconds": model.checkpoint_s,
                "background_s": model.background_s,
            },
            "detect_s": model.detect_s,
            "restart_s": model.restart_s,
            "spares": model.spares,
            "repair_s": model.repair_s,
        }

    def _simulated(self) -> dict[str, Any]:
        runs = self.runs
        low, median, high = runs.percentiles(5, 50, 95)
        return {
            "simulated": {
                "runs": self.options.runs,
                "seed": self.options.seed,
                "horizon_s": self.options.horizon_s,
                "goodput": runs.goodput,
                "standard_error": runs.standard_error,
                "percentiles": {"5": low, "50": median, "95": high},
                "shares": runs.shares,
                "failures": runs.spread("failures"),
                "restarts": runs.spread("restarts"),
            },
            "intervals": [vars(row) for row in self.table],
        }
