"""The file of measurements: written point by point, so that a killed run loses the point in progress and no more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.calibration.measure.grid import Point
from planner.calibration.measure.repeats import Summary
from planner.documents.bulk import load_bulk
from planner.documents.reading import read_text
from planner.errors import PlannerError

HEAD = "# Written by `plan calibrate`, one line per point as it is measured; `plan calibrate fit FILE` fits it again.\n"
MEASURED = ("time_us", "spread", "windows", "noisy")
LARGEST_BYTES = 64 * 2**20


@dataclass
class Record:
    """Measurements on their way into a file.

    Args:
        path: of the file.
        key: ``kernels`` or ``points``, the list that the file holds.
        done: points that it holds already.
    """

    path: Path
    key: str
    done: set[tuple[tuple[str, Any], ...]] = field(default_factory=set)

    def holds(self, point: Point) -> bool:
        """Whether the point was measured before."""
        return _identity(point) in self.done

    def add(self, point: Point, summary: Summary) -> None:
        """Append a point and wait until it is on the disk."""
        fields = {
            **point,
            "time_us": float(f"{summary.seconds * 1e6:.6g}"),
            "spread": float(f"{summary.spread:.3g}"),
            "windows": summary.windows,
            "noisy": str(summary.noisy).lower(),
        }
        _append(self.path, "- {" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + "}\n")
        self.done.add(_identity(point))


def record_path(target: Path, what: str) -> Path:
    """The measurements behind a calibration: ``my.yaml`` -> ``my.device.yaml``."""
    return target.with_suffix(f".{what}.yaml")


def open_record(path: Path, key: str, machine: Mapping[str, str], head: Mapping[str, str]) -> Record:
    """A file to go on with, new or left by an interrupted run.

    Args:
        machine: what must be the same for points to stand in one file.
        head: further lines of a new file, plain text by key.

    Raises:
        PlannerError: the file holds something else, or was measured on another machine or with other software.
    """
    if not path.exists() or not path.stat().st_size:
        lines = [f'  {name}: "{value}"' for name, value in machine.items()]
        text = "\n".join(
            ["machine:", *lines, *(f"{name}: {value}" for name, value in head.items()), f"{key}:"]
        )
        _append(path, f"{HEAD}{text}\n")
        return Record(path, key)
    _drop_torn_line(path, key)
    known, points = read_record(path, key, may_be_empty=True)
    different = [name for name, value in machine.items() if str(known.get(name)) != value]
    if different:
        name = different[0]
        raise PlannerError(
            f"was measured with {name} {known.get(name)}, this is {machine[name]}; move it away to measure anew",
            file=path,
            field=f"machine.{name}",
        )
    return Record(path, key, {_identity(point) for point in points})


def read_record(
    path: Path, key: str, *, may_be_empty: bool = False
) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The machine and the points of a file.

    Raises:
        PlannerError: it is no such file or holds no point.
    """
    data = load_bulk(path).data
    if not isinstance(data, Mapping) or not isinstance(data.get("machine"), Mapping) or key not in data:
        raise PlannerError(
            f"is no file of measurements: 'machine' and a list '{key}' are accepted", file=path
        )
    points = data[key] or []
    if not points and not may_be_empty:
        raise PlannerError("holds no measured point yet", file=path, field=key)
    for index, point in enumerate(points):
        if not isinstance(point, Mapping) or not isinstance(point.get("time_us"), int | float):
            raise PlannerError(f"point {index + 1} has no time_us", file=path, field=key)
    return data["machine"], list(points)


def _identity(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in point.items() if name not in MEASURED))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise PlannerError(f"cannot be written: {error.strerror}", file=path) from None


def _drop_torn_line(path: Path, key: str) -> None:
    """Take off what a kill left of a line; a head that is not complete is started again."""
    text = read_text(path, "YAML", limit_bytes=LARGEST_BYTES)
    whole = text if text.endswith("\n") else text[: text.rfind("\n") + 1]
    if f"\n{key}:\n" not in f"\n{whole}":
        raise PlannerError(f"is no file of measurements: it holds no list '{key}'", file=path)
    if whole != text:
        with path.open("r+", encoding="utf-8") as stream:
            stream.truncate(len(whole.encode()))
