"""What a user may say about failures, read from strings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.errors import PlannerError
from planner.units import DIMENSIONS, parse_count, parse_quantity

DAY_S = 86400.0

LLAMA3_DEVICE_MTBF_S = 16_384 * 54 * DAY_S / 419
"""One H100 and its share of node and network: 419 unexpected interruptions of 16,384 in 54 days (arXiv 2407.21783)."""

Text = str | float | None
"""A quantity as the command line or a program gives it."""


@dataclass(frozen=True)
class FailureOptions:
    """Failures, recovery, checkpoints and the size of the simulation; defaults are explained in docs/failures.md.

    Args:
        mtbf_s: mean time between failures of one device; None: the cluster's.
        checkpoint_interval_s: work between two checkpoints; None: the best.
        checkpoint_s: how long a checkpoint stops the job; None: from its bytes.
        checkpoint_background_s: from then until it is durable.
        checkpoint_bandwidth: bytes/s of one node into the storage.
        detect_s, restart_s, repair_s: see ``FailureModel``.
        spares: nodes; None for as many as are needed.
        horizon_s: simulated wall time of each run.
        runs, seed: of the simulation.
    """

    mtbf_s: float | None = None
    checkpoint_interval_s: float | None = None
    checkpoint_s: float | None = None
    checkpoint_background_s: float = 0.0
    checkpoint_bandwidth: float = 1e9
    detect_s: float = 600.0
    restart_s: float = 300.0
    spares: int | None = None
    repair_s: float = DAY_S
    horizon_s: float = 30 * DAY_S
    runs: int = 200
    seed: int = 0


def failure_options(
    *,
    mtbf: Text = None,
    checkpoint_interval: Text = None,
    checkpoint_seconds: Text = None,
    checkpoint_background: Text = None,
    checkpoint_bandwidth: Text = None,
    detect: Text = None,
    restart: Text = None,
    spares: Text = None,
    repair: Text = None,
    days: Text = None,
    runs: Text = None,
    seed: Text = None,
) -> FailureOptions:
    """Options from strings such as ``50000 h``, ``20 min`` or ``2 GB/s``; None takes the default.

    Times without a unit are seconds, ``days`` without a unit are days.

    Raises:
        PlannerError: a value that cannot be read or that makes no sense; its field is the flag, such as ``--mtbf``.
    """
    base = FailureOptions()
    return FailureOptions(
        mtbf_s=_seconds("--mtbf", mtbf, base.mtbf_s, zero=False),
        checkpoint_interval_s=_seconds(
            "--checkpoint-interval", checkpoint_interval, base.checkpoint_interval_s, zero=False
        ),
        checkpoint_s=_seconds("--checkpoint-seconds", checkpoint_seconds, base.checkpoint_s),
        checkpoint_background_s=_seconds("--checkpoint-background", checkpoint_background, None) or 0.0,
        checkpoint_bandwidth=_bandwidth(checkpoint_bandwidth, base.checkpoint_bandwidth),
        detect_s=_or(_seconds("--detect", detect, None), base.detect_s),
        restart_s=_or(_seconds("--restart", restart, None), base.restart_s),
        spares=None if spares is None else parse_count(spares, field="--spares"),
        repair_s=_or(_seconds("--repair", repair, None), base.repair_s),
        horizon_s=_or(_days(days), base.horizon_s),
        runs=base.runs if runs is None else _runs(runs),
        seed=base.seed if seed is None else parse_count(seed, field="--seed"),
    )


def _seconds(flag: str, value: Text, default: float | None, *, zero: bool = True) -> float | None:
    if value is None:
        return default
    try:
        return parse_quantity(value, "s", field=flag, allow_zero=zero)
    except PlannerError as error:
        # the example of the dimension is a latency; here people think in hours
        message = error.message.replace(DIMENSIONS["s"].example, "50000 h, 20 min or 90 s")
        raise PlannerError(message, field=flag) from None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _bandwidth(value: Text, default: float) -> float:
    if value is None:
        return default
    return parse_quantity(value, "bytes/s", field="--checkpoint-bandwidth", allow_zero=False)


def _days(value: Text) -> float | None:
    """Seconds of a number of days, or of a quantity with a unit."""
    if value is None:
        return None
    return _seconds("--days", f"{value} d" if _is_number(value) else value, None, zero=False)


def _is_number(value: str | float) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _runs(value: Text) -> int:
    runs = parse_count(value, field="--runs")
    if runs < 2:
        raise PlannerError(f"found {runs}; accepted: 2 or more (one run has no error)", field="--runs")
    return runs
