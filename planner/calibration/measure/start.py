"""Start the measuring processes and follow them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from planner.calibration.measure.grid import Budget
from planner.calibration.measure.record import record_path
from planner.errors import PlannerError
from planner.hardware.accelerators import load_accelerator
from planner.hardware.loader import load_cluster
from planner.validation.processes.launch import require_torch, run_processes

Progress = Callable[[float, str], None]

LONGEST_S: Mapping[Budget, float] = {"small": 900.0, "full": 4 * 3600.0}
"""After which measuring is given up; what was measured stays in the file."""

Device = Literal["cpu", "cuda"]

MEASURED = ("fp32", "tf32", "bf16", "fp16", "fp8")


@dataclass(frozen=True)
class DeviceOptions:
    """What of a device is measured.

    Args:
        device: ``cpu`` or ``cuda``.
        accelerator: catalogue name whose figures the constants multiply.
        precisions: of its peak rates; none for fp32 on cpu, all that can be measured on cuda.
        processes: copies that are busy at the same time, one thread each.
    """

    device: Device = "cpu"
    accelerator: str = "cpu"
    precisions: tuple[str, ...] = ()
    budget: Budget = "small"
    processes: int = 1


def measure_device(options: DeviceOptions, target: Path, progress: Progress) -> Path:
    """Measure, or go on with what an interrupted run has measured.

    Args:
        target: the calibration that it is for; the measurements stand beside it.

    Returns:
        the file of measurements, which ``fit_device`` reads.

    Raises:
        PlannerError: torch or the device is missing, an unknown precision, measurements of another machine.
        NoAnswerError: a process died or took too long.
    """
    require_torch()
    accelerator = load_accelerator(options.accelerator)
    known = tuple(name for name in MEASURED if name in accelerator.peak_flops)
    for name in options.precisions:
        if name not in known:
            raise PlannerError(
                f"found '{name}'; of {accelerator.name} can be measured: {', '.join(known)}",
                field="--precision",
            )
    require_device(options.device)
    request = {**asdict(options), "precisions": options.precisions or known}
    record = record_path(target, "device")
    _run(
        "device_worker",
        {**request, "record": str(record.absolute())},
        options.processes,
        options.budget,
        progress,
    )
    return record


def measure_network(
    cluster: Mapping[str, Any] | str,
    target: Path,
    progress: Progress,
    *,
    backend: Literal["gloo", "nccl"] = "gloo",
    budget: Budget = "small",
    port: int | None = None,
) -> Path:
    """Measure every collective over every group of a cluster; the other arguments and errors as ``measure_device``.

    Under torchrun this process is one rank of the job, else as many local processes are started as the cluster has devices.

    Args:
        cluster: mapping or path of the cluster; its levels name the groups.
    """
    require_torch()
    devices = load_cluster(cluster, calibrated=False).devices
    if backend == "nccl":
        require_device("cuda")
    record = record_path(target, "network")
    described = cluster if isinstance(cluster, str) else dict(cluster)
    request = {
        "cluster": described,
        "backend": backend,
        "budget": budget,
        "record": str(record.absolute()),
    }
    if under_torchrun():
        from planner.calibration.measure import network_worker

        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            network_worker.main([_written(request, folder)])
    else:
        _run("network_worker", request, devices, budget, progress, port)
    return record


def under_torchrun() -> bool:
    """Whether this process is a rank that a launcher has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _run(
    worker: str,
    request: Mapping[str, Any],
    processes: int,
    budget: Budget,
    progress: Progress,
    port: int | None = None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        run_processes(
            f"planner.calibration.measure.{worker}",
            [_written(request, folder)],
            processes,
            timeout_s=LONGEST_S[budget],
            port=port,
            on_line=lambda line: _tell(line, progress),
        )


def _written(request: Mapping[str, Any], folder: str) -> str:
    path = Path(folder) / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return str(path)


def _tell(line: str, progress: Progress) -> None:
    """A line of the first rank; libraries may print others."""
    try:
        done, what = json.loads(line)
    except (ValueError, TypeError):
        return
    progress(float(done), str(what))


def require_device(device: str) -> None:
    """Refuse ``cuda`` where there is none.

    Raises:
        PlannerError: PyTorch or a CUDA device is missing.
    """
    require_torch()
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise PlannerError("found no CUDA device; --device cpu measures this computer", field="--device")


def accelerator_here(device: Device) -> str:
    """The catalogue's name of the device at hand.

    Raises:
        PlannerError: there is no GPU, or the catalogue does not know it.
    """
    if device == "cpu":
        return "cpu"
    from planner.validation.devices import accelerator_in

    require_device(device)
    import torch

    words = torch.cuda.get_device_name()
    found = accelerator_in(words)
    if found is None:
        raise PlannerError(f"the catalogue knows no '{words}'; name one", field="--accelerator")
    return found


def precisions_of(text: str | None) -> Sequence[str]:
    """Names in a list with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
