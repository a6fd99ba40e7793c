"""This machine calibrated at once: its device and, between processes, its network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from planner.calibration.fit.writing import merge_calibration
from planner.calibration.measure.fit_device import fit_device
from planner.calibration.measure.fit_network import fit_network
from planner.calibration.measure.machine import this_machine
from planner.calibration.measure.start import (
    Device,
    DeviceOptions,
    accelerator_here,
    measure_device,
    measure_network,
)

Progress = Callable[[float, str], None]


def calibrate_here(target: Path, progress: Progress, *, processes: int = 1, device: Device = "cpu") -> Path:
    """Measure with the small budget and fit, as ``plan calibrate device`` and ``plan calibrate network`` do.

    Args:
        target: the calibration to write; measurements that stand beside it are gone on with.
        processes: that are busy at the same time; their network is measured from two on (cpu only).

    Raises:
        PlannerError, NoAnswerError: see ``measure_device``.
    """
    network = device == "cpu" and processes > 1
    share = 0.5 if network else 1.0
    options = DeviceOptions(device, accelerator_here(device), processes=processes)
    record = measure_device(options, target, lambda done, what: progress(share * done, what))
    merge_calibration(target, fit_device(record).calibration)
    if network:
        record = measure_network(
            this_machine(processes), target, lambda done, what: progress(share + share * done, what)
        )
        merge_calibration(target, fit_network(record).calibration)
    return target
