"""From log files to points, errors before and after, and constants of the kinds of network that they cross."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.collectives import LEAST_TIMINGS, fit_priced
from planner.calibration.fit.constants import Key, constant
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.result import AT_BOUND
from planner.calibration.logs.benchmark import read_benchmarks
from planner.calibration.logs.identify import identify
from planner.calibration.logs.machine import place_of
from planner.calibration.logs.sweeps import LoggedTest, logged_test
from planner.costs.collectives import Collective
from planner.errors import PlannerError
from planner.hardware.calibration import Calibration
from planner.hardware.types import Cluster

Progress = Callable[[float, str], None]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """What the user says of all logs of a call; None is left to the logs."""

    cluster: Cluster | None = None
    collective: Collective | None = None
    ranks: int | None = None
    ranks_per_node: int | None = None


@dataclass(frozen=True)
class LogReport:
    """What some logs say.

    Args:
        before, after: predicted seconds of every timing of every test, by the constants that the cluster had and by the
            fitted ones.
        calibration: None where nothing could be fitted.
        skipped: tests that the cost model does not price, why nothing was fitted, and constants at a bound.
    """

    tests: tuple[LoggedTest, ...]
    before: tuple[FloatArray, ...]
    after: tuple[FloatArray, ...]
    calibration: Calibration | None
    skipped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; times in microseconds, errors are fractions."""
        return {
            "tests": [
                _test_json(test, before, after)
                for test, before, after in zip(self.tests, self.before, self.after, strict=True)
            ],
            "calibration": None if self.calibration is None else self.calibration.model_dump(mode="json"),
            "skipped": list(self.skipped),
        }


def read_tests(files: Sequence[Path], given: Given) -> tuple[list[LoggedTest], list[str]]:
    """All tests of some logs, and what of them is not priced.

    Raises:
        PlannerError: a log that cannot be read, contradicts itself, or leaves open what ran where.
    """
    tests: list[LoggedTest] = []
    skipped: list[str] = []
    for file in files:
        for benchmark in read_benchmarks(file):
            found = identify(benchmark, given.collective, given.ranks)
            if found is None:
                skipped.append(f"{file}:{benchmark.line}: {benchmark.facts.program}_perf is not priced")
                continue
            place = place_of(benchmark, found, given.cluster, given.ranks_per_node)
            tests.append(logged_test(len(tests), benchmark, found, place))
    if not tests:
        raise PlannerError("; ".join(skipped), file=files[0])
    return tests, skipped


def calibrate_logs(
    files: Sequence[Path], given: Given, name: str = "log", progress: Progress = lambda done, message: None
) -> LogReport:
    """Points, errors and constants of some logs; errors as ``read_tests``."""
    progress(0.0, "reading logs")
    tests, skipped = read_tests(files, given)
    usable = [test for test in tests if test.apart is None and test.timed]
    scopes = fit_priced([test.priced for test in usable], lambda done, what: progress(0.1 + 0.8 * done, what))
    if not usable:
        skipped.append(f"nothing fitted: {tests[0].apart or 'no timing'}")
    elif not scopes:
        skipped.append(
            f"nothing fitted: fewer than {LEAST_TIMINGS} timings cross a kind of network, or they agree with its constants"
        )
    calibration = None
    skipped += [
        f"{kind} {name} is at a bound: the log's links are no {kind}, or something else slowed the test"
        for kind, scope in scopes.items()
        for name, figure in scope.constants.items()
        if _at_bound(kind, name, figure.value)
    ]
    if scopes:
        calibration = Calibration(
            name=name,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            data="log",
            data_sha256=data_digest(files),
            rows=sum(len(test.timed) for test in usable),
            networks=scopes,
        )
    before = tuple(test.predicted({}) for test in tests)
    after = tuple(test.predicted(scopes) for test in tests)
    return LogReport(tuple(tests), before, after, calibration, tuple(skipped))


def _at_bound(kind: str, name: str, value: float) -> bool:
    made = constant(Key("network", kind, name), value)
    if made is None:
        return True
    low, high = made.bounds
    return min(made.centre - low, high - made.centre) < AT_BOUND * (high - low)


def _test_json(test: LoggedTest, before: FloatArray, after: FloatArray) -> dict[str, Any]:
    machine = test.place.machine
    return {
        "file": str(test.benchmark.file),
        "line": test.benchmark.line,
        "collective": test.sweep.collective,
        "ranks": machine.ranks,
        "ranks_per_node": machine.ranks_per_node,
        "accelerator": machine.accelerator,
        "network": machine.outermost,
        "hosts": list(test.benchmark.facts.hosts),
        "apart": test.apart,
        "notes": list(test.notes),
        "points": [
            {
                "line": row.line,
                "bytes": row.size,
                "placement": timed.placement,
                "time_us": timed.time_us,
                "algbw_GBps": timed.algbw,
                "busbw_GBps": timed.busbw,
                "before_us": float(first) * 1e6,
                "after_us": float(second) * 1e6,
                "error_before": float(first) * 1e6 / timed.time_us - 1,
                "error_after": float(second) * 1e6 / timed.time_us - 1,
            }
            for (row, timed), first, second in zip(test.timed, before, after, strict=True)
        ],
    }
