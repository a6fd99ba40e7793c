"""Tables of a fit: errors by group, constants beside their priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.calibration.fit.result import GroupErrors, macro_errors
from planner.report.tables import new_table
from planner.validation.runs.statistics import ErrorSummary

if TYPE_CHECKING:
    from rich.console import Console

    from planner.calibration.fit.crossed import Crossed
    from planner.calibration.fit.report import FitReport
    from planner.hardware.calibration import CalibratedScope


def show_fit(console: Console, found: FitReport, *, quiet: bool = False) -> None:
    """Errors by group, what leaving out found; constants by scope unless ``quiet``."""
    _show_groups(console, found.groups)
    if found.crossed is not None:
        _show_crossed(console, found.crossed)
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


def _show_crossed(console: Console, crossed: Crossed) -> None:
    """Stiffness tried, coverage, spreads."""
    headings = ("stiffness of priors", "model out", "family out")
    table = new_table("Mean of the groups' medians in %, by linear refits", headings)
    for tried in crossed.tried:
        marks = ["*" if tried.stiffness == chosen else "" for chosen in crossed.stiffness]
        errors = (tried.model_out, tried.family_out)
        cells = [f"{100 * error:.1f}{mark}" for error, mark in zip(errors, marks, strict=True)]
        table.add_row(f"{100 * tried.stiffness:g} %", *cells)
    console.print(table)
    model, family = crossed.covered
    console.print(
        f"80 % intervals, each family by spreads fitted without it, hold {100 * model:.0f} % with a model left out,"
        f" {100 * family:.0f} % with a family left out (means over families); median width {100 * crossed.width:.0f} %."
    )
    spreads = ", ".join(f"{name} {value:g}" for name, value in crossed.spreads.model_dump().items())
    console.print(f"Spreads of the logarithm: {spreads}\n")


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
