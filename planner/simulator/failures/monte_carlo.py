"""Simulated weeks of a job whose nodes fail: many runs at once, one failure of each per turn, spare nodes counted exactly."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError
from planner.simulator.failures.analytic import check_progress
from planner.simulator.failures.model import FailureModel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SHARES = ("useful", "lost_work", "checkpoint", "detection", "restart", "waiting")
"""Every second of a run belongs to one of these."""

MOST_FAILURES_PER_RUN = 20_000.0
MOST_FAILURES = 1e7


@dataclass(frozen=True, eq=False)
class Runs:
    """What simulated runs came to, arrays of shape (runs,).

    Args:
        seconds: wall time, from one durable checkpoint to the first one at or after the horizon.
        parts: seconds by class of ``SHARES``; they add up to ``seconds``.
        failures: node failures before the horizon.
        restarts: recoveries begun before the horizon, those that a failure cut short included.
    """

    seconds: FloatArray
    parts: dict[str, FloatArray]
    failures: FloatArray
    restarts: FloatArray

    @cached_property
    def goodput(self) -> float:
        """Useful work over wall time, all runs together.

        Durable checkpoints are renewals of the process, so that by Wald's identity this ratio tends to the exact
        expectation with the number of runs, however short the horizon (no edge at its end to be corrected for).
        """
        return float(self.parts["useful"].sum() / self.seconds.sum())

    @cached_property
    def standard_error(self) -> float:
        """Of ``goodput``: delta method for a ratio of means."""
        residual = self.parts["useful"] - self.goodput * self.seconds
        runs = len(residual)
        return float(np.sqrt((residual**2).sum() / (runs * (runs - 1))) / self.seconds.mean())

    @cached_property
    def per_run(self) -> FloatArray:
        """Goodput of each run."""
        return self.parts["useful"] / self.seconds

    def percentiles(self, *levels: float) -> tuple[float, ...]:
        """Percentiles of the goodput over the runs."""
        return tuple(float(value) for value in np.percentile(self.per_run, levels))

    def spread(self, name: Literal["failures", "restarts"]) -> dict[str, float]:
        """Mean, standard deviation and 5th, 50th, 95th percentile of a count over the runs."""
        counts = self.failures if name == "failures" else self.restarts
        low, median, high = np.percentile(counts, (5, 50, 95))
        return {
            "mean": float(counts.mean()),
            "standard_deviation": float(counts.std(ddof=1)),
            "5": float(low),
            "50": float(median),
            "95": float(high),
        }

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the wall time by class; they add up to 1."""
        total = self.seconds.sum()
        return {name: float(value.sum() / total) for name, value in self.parts.items()}


def simulate_runs(
    model: FailureModel, interval_s: float, *, horizon_s: float, runs: int, seed: int = 0
) -> Runs:
    """Simulate independent runs of a job.

    The same seed gives the same failures (in time at risk) for every interval, so that intervals compare without noise.

    Args:
        interval_s: work between two snapshots, at least ``model.background_s``.
        horizon_s: simulated wall time of a run; it ends at the first durable checkpoint after it.
        runs: at least 2.
        seed: of the failure times.

    Raises:
        PlannerError: more failures than can be simulated in reasonable time, or hardly any checkpoint is ever reached.
    """
    check_size(model, horizon_s, runs)
    if interval_s < model.background_s:
        raise PlannerError(
            f"found {interval_s:g} s, shorter than the {model.background_s:g} s until a checkpoint is durable",
            field="--checkpoint-interval",
        )
    check_progress(model, interval_s)
    generator = np.random.default_rng(seed)
    state = _State.begin(model, interval_s, horizon_s, runs)
    while state.active.any():
        state.advance(generator.standard_exponential(runs) * model.job_mtbf_s)
    return Runs(state.now, state.parts, state.failures, state.restarts)


def check_size(model: FailureModel, horizon_s: float, runs: int) -> None:
    """Refuse what would take minutes.

    Raises:
        PlannerError: too few runs, or too many failures per run or in all.
    """
    if runs < 2:
        raise PlannerError(f"found {runs}; accepted: 2 or more (one run has no error)", field="--runs")
    expected = model.rate * horizon_s
    if expected > MOST_FAILURES_PER_RUN:
        raise PlannerError(
            f"{expected:,.0f} failures are expected within one run; accepted: at most {MOST_FAILURES_PER_RUN:,.0f},"
            " so simulate fewer days",
            field="--days",
        )
    if expected * runs > MOST_FAILURES or runs > MOST_FAILURES:
        limit = min(MOST_FAILURES, MOST_FAILURES / max(expected, 1e-300))
        raise PlannerError(
            f"found {runs} with {expected:,.0f} failures expected in each; accepted here: at most {limit:,.0f}",
            field="--runs",
        )


@dataclass(eq=False)
class _State:
    """The runs just after a failure of each (at first: just after a checkpoint became durable).

    Times of a job at work are counted from the beginning of its segment: work for ``interval``, then the snapshot.

    Args:
        now: wall time.
        detect: seconds until the failure is known.
        restart: seconds that the restart takes then.
        ready: wall time at which all nodes are there.
        offset: seconds of the running segment that were done before.
        returning: wall times at which the latest failed nodes will be spares, oldest first; None without a limit.
        parts: seconds so far by class of ``SHARES``.
    """

    model: FailureModel
    interval: float
    horizon: float
    now: FloatArray
    detect: FloatArray
    restart: FloatArray
    ready: FloatArray
    offset: FloatArray
    failures: FloatArray
    restarts: FloatArray
    active: BoolArray
    returning: deque[FloatArray] | None
    parts: dict[str, FloatArray]

    @classmethod
    def begin(cls, model: FailureModel, interval: float, horizon: float, runs: int) -> _State:
        return cls(
            model,
            interval,
            horizon,
            now=np.zeros(runs),
            detect=np.zeros(runs),
            restart=np.zeros(runs),
            ready=np.zeros(runs),
            offset=np.full(runs, model.background_s),
            failures=np.zeros(runs),
            restarts=np.zeros(runs),
            active=np.ones(runs, dtype=bool),
            returning=None if model.spares is None else deque(),
            parts={name: np.zeros(runs) for name in SHARES},
        )

    def advance(self, at_risk: FloatArray) -> None:
        """To the next failure of every run, ``at_risk`` seconds of exposure later, or to its end."""
        hung = at_risk < self.detect
        wait = np.where(hung, 0.0, np.maximum(self.ready - self.now - self.detect, 0.0))
        left = at_risk - self.detect - self.restart
        restarting = ~hung & (left < 0.0)
        running = left >= 0.0
        self._add("detection", np.minimum(at_risk, self.detect))
        self._add("waiting", wait)
        self._add("restart", np.where(hung, 0.0, np.minimum(at_risk - self.detect, self.restart)))
        down = np.where(running, self.detect + self.restart, at_risk) + wait
        worked, finished = self._work(self.now + down, left, running)
        self.now = np.where(self.active, self.now + down + worked, self.now)
        self.active = self.active & ~finished
        self._fail(hung, restarting | running, at_risk)

    def _work(self, start: FloatArray, left: FloatArray, running: BoolArray) -> tuple[FloatArray, BoolArray]:
        """Account for the seconds at work until the failure or the end; returns them and which runs have ended."""
        cost, background = self.model.checkpoint_s, self.model.background_s
        segment = self.interval + cost
        reach = left + self.offset
        last = np.ceil((self.horizon - start + self.offset - background) / segment)
        last = np.maximum(last, 1.0)
        finished = running & (reach >= last * segment + background)
        snapshots = np.where(finished, last, np.floor(reach / segment))
        within = np.where(finished, background, reach - snapshots * segment)
        durable = np.where(within >= background, snapshots, np.maximum(snapshots - 1.0, 0.0))
        useful = durable * self.interval
        done = snapshots * self.interval + np.minimum(within, self.interval)
        none = ~running
        self._add("useful", np.where(none, 0.0, useful))
        # what a run that ends has done since its last durable checkpoint equals what it had at its beginning
        self._add("lost_work", np.where(none | finished, 0.0, done - useful))
        stopped = snapshots * cost + np.maximum(within - self.interval, 0.0)
        self._add("checkpoint", np.where(none, 0.0, stopped))
        worked = np.where(none, 0.0, snapshots * segment + within - self.offset)
        return worked, finished

    def _fail(self, hung: BoolArray, again: BoolArray, at_risk: FloatArray) -> None:
        """A node fails now: when its replacement is there, and how long the recovery takes."""
        counted = self.active & (self.now <= self.horizon)
        self.failures += counted
        self.restarts += counted & again
        self.ready = self._replacement()  # replacements come in order: the latest one completes the nodes
        self.detect = np.where(hung, self.detect - at_risk, self.model.detect_s)
        self.restart = np.full_like(self.restart, self.model.restart_s)
        self.offset = np.zeros_like(self.offset)

    def _replacement(self) -> FloatArray:
        """Wall time at which a spare takes the place of the node that fails now.

        All repairs take equally long, so nodes come back in the order in which they failed: with S spares, failure n
        takes a spare while n <= S, and afterwards the node of failure n - S.
        """
        if self.model.spares is None or self.returning is None:
            return self.now
        self.returning.append(self.now + self.model.repair_s)
        if len(self.returning) <= self.model.spares:
            return self.now
        return np.maximum(self.now, self.returning.popleft())

    def _add(self, name: str, seconds: FloatArray) -> None:
        self.parts[name] += np.where(self.active, seconds, 0.0)
