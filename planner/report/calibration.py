"""Tables of a fit: errors by group, constants beside their priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.calibration.fit.result import GroupErrors, macro_errors
from planner.report.tables import new_table
from planner.validation.runs.statistics import ErrorSummary

if TYPE_CHECKING:
    from rich.console import Console

    from planner.calibration.fit.report import FitReport
    from planner.hardware.calibration import CalibratedScope


def show_fit(console: Console, found: FitReport, *, quiet: bool = False) -> None:
    """Errors by group; constants by scope unless ``quiet``."""
    _show_groups(console, found.groups)
    if not quiet:
        calibration = found.calibration
        for kind, scopes in (
            ("Accelerators", calibration.accelerators),
            ("Networks", calibration.networks),
            ("Framework profiles", calibration.frameworks),
        ):
            _show_scopes(console, kind, scopes)
    for key in found.bounds:
        console.print(f"at a bound, so the model lacks something there: {key}")


def _show_groups(console: Console, groups: Sequence[GroupErrors]) -> None:
    headings = ("family", "accelerator", "rows", "votes", "priors", "in sample", "model out", "family out")
    table = new_table("Step time, |error| median / mean in %", headings, left=headings[:2])
    for group in groups:
        table.add_row(
            group.family,
            group.accelerator,
            str(group.rows),
            str(group.votes),
            _pair(group.priors),
            _pair(group.in_sample),
            _pair(group.model_out),
            _pair(group.family_out),
        )
    macro = macro_errors(groups)
    figures = (macro.priors, macro.in_sample, macro.model_out, macro.family_out)
    table.add_row("mean of medians", "", "", "", *("" if f is None else f"{100 * f:.1f}" for f in figures))
    console.print(table)


def _pair(errors: ErrorSummary | None) -> str:
    return "" if errors is None else f"{100 * errors.median_ape:.1f} / {100 * errors.mean_ape:.1f}"


def _show_scopes(console: Console, kind: str, scopes: dict[str, CalibratedScope]) -> None:
    headings = ("scope", "constant", "prior", "fitted", "rows", "groups")
    table = new_table(kind, headings, left=headings[:2])
    for name, scope in scopes.items():
        for constant, fitted in scope.constants.items():
            figures = (f"{fitted.prior:.4g}", f"{fitted.value:.4g}", str(fitted.rows), str(fitted.groups))
            table.add_row(name, constant, *figures)
    console.print(table)
