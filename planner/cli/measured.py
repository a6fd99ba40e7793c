"""What ``calibrate device``, ``network`` and ``fit`` share: fit measurements, show residuals, write the calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.cli.output import Output

if TYPE_CHECKING:
    from planner.calibration.measure.residuals import MeasuredFit


def answer(output: Output, what: Literal["device", "network"], record: Path, target: Path | None) -> None:
    """Fit a file of measurements and tell; with a target merge the constants into it."""
    from planner.calibration.fit.writing import merge_calibration
    from planner.report.measured import residuals_json, show_residuals

    with output.progress() as progress:
        progress(0.5, f"fitting the {what}")
        found = _fit(what, record)
    whole = found.calibration if target is None else merge_calibration(target, found.calibration)
    output.emit(
        {
            "calibration": whole.model_dump(mode="json"),
            "measurements": str(record),
            "residuals": residuals_json(found.residuals),
        },
        lambda console: show_residuals(console, found.residuals),
    )
    noisy = sum(residual.noisy for residual in found.residuals)
    if noisy:
        output.note(f"{noisy} of {len(found.residuals)} points are noisy; a quiet machine helps")
    if target is not None:
        output.note(f"calibration: {target} (a cluster file names it: 'calibration: {target.name}')")


def _fit(what: str, record: Path) -> MeasuredFit:
    if what == "device":
        from planner.calibration.measure.fit_device import fit_device

        return fit_device(record)
    from planner.calibration.measure.fit_network import fit_network

    return fit_network(record)
