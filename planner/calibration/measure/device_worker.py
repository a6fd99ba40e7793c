"""One of the processes that measure a device, all of them busy with the same point."""

from __future__ import annotations

from pathlib import Path

from planner.calibration.measure.grid import device_grid
from planner.calibration.measure.kernels import call_of
from planner.calibration.measure.lockstep import Measured, measure_points, read_request, remaining
from planner.calibration.measure.machine import cores, surroundings
from planner.calibration.measure.record import open_record
from planner.validation.processes.worker import joined, run_worker


def main(arguments: list[str]) -> None:
    """Measure what the request file says.

    Raises:
        PlannerError: the device is not there, or the record is of another machine.
    """
    request = read_request(arguments)
    with joined(request["processes"], request["device"]) as place:
        machine = {"accelerator": request["accelerator"]} | surroundings(
            request["device"], request["processes"]
        )
        record = open_record(Path(request["record"]), "kernels", machine, {}) if place.rank == 0 else None
        grid = list(device_grid(request["precisions"], request["budget"], large=request["device"] == "cuda"))
        measure_points(
            remaining(grid, record, place),
            lambda point: Measured(call_of(point, place.device)),
            place,
            record,
            shared=request["device"] == "cpu" and request["processes"] > cores(),
        )


if __name__ == "__main__":
    run_worker(main)
