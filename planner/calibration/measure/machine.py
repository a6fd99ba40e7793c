"""This computer as a cluster, and as the words that a calibration carries."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def this_machine(
    processes: int, calibration: str | Path | None = None, accelerator: str = "cpu"
) -> dict[str, Any]:
    """The mapping of a cluster whose devices are processes of this computer, or its GPUs.

    Args:
        processes: on it, each one device.
        calibration: file to use. accelerator: catalogue name of the devices.
    """
    found: dict[str, Any] = {
        "name": "this-machine",
        "accelerator": accelerator,
        "nodes": 1,
        "devices_per_node": processes,
        "network": [{"name": "loopback", "kind": "loopback"}],
        "host": {"cores": cores()},
    }
    return found if calibration is None else {**found, "calibration": str(Path(calibration).absolute())}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def surroundings(device: str, processes: int) -> dict[str, str]:
    """What measurements depend on besides their point: device, software, busy processes."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else f"{_processor()}, {cores()} cores"
    return {
        "device": name,
        "host": platform.node(),
        "processes": str(processes),
        "threads": "1" if device == "cpu" else "-",
        "torch": str(torch.__version__),
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
