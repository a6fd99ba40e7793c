"""The calibration file: one line per constant, so that a change of a fit reads as a difference of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from planner.documents import write_text
from planner.hardware.calibration import CalibratedScope, Calibration

HEAD = (
    "# Written by `plan calibrate fit`; do not edit: run it again. Docs: docs/calibration.md.\n"
    "# value: fitted; prior and spread (of the logarithm; of a share, of itself): where it started and what pulls it back;\n"
    "# lower, upper: physical bounds; rows, groups: measurements that depend on it, and their sources (family x accelerator).\n"
)


def write_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration that ``load_calibration`` reads back, whole or not at all."""
    write_text(path, calibration_text(calibration))


def calibration_text(calibration: Calibration) -> str:
    """The file's text."""
    lines = [f'{name}: "{getattr(calibration, name)}"' for name in ("name", "date", "data", "data_sha256")]
    lines.append(f"rows: {calibration.rows}")
    for section in ("accelerators", "architectures", "attention", "networks", "frameworks"):
        scopes: Mapping[str, CalibratedScope] = getattr(calibration, section)
        if not scopes and section in ("architectures", "attention"):
            continue
        lines += [f"{section}:" if scopes else f"{section}: {{}}", *_scopes(scopes)]
    if calibration.spreads is not None:
        lines += [
            "spreads:",
            *(f"  {name}: {value:g}" for name, value in calibration.spreads.model_dump().items()),
        ]
    return HEAD + "\n".join(lines) + "\n"


def _scopes(scopes: Mapping[str, CalibratedScope]) -> Iterator[str]:
    for name, scope in scopes.items():
        yield f"  {name}:"
        yield f"    members: [{', '.join(scope.members)}]"
        yield f"    families: [{', '.join(scope.families)}]"
        yield "    constants:"
        for constant, fitted in scope.constants.items():
            fields = ", ".join(f"{field}: {value:g}" for field, value in fitted.model_dump().items())
            yield f"      {constant}: {{{fields}}}"
