"""Table of sweeps of collectives by three sets of constants, with the bars that they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.report.tables import new_table
from planner.validation.collectives.held_out import HALF, HARDWARE
from planner.validation.collectives.pricing import BANDS
from planner.validation.collectives.verdicts import BARS, COMMITTED, BandVerdict, SweepVerdict

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (HARDWARE, HALF, COMMITTED)


def show_verdicts(console: Console, verdicts: Sequence[SweepVerdict]) -> None:
    """Median errors per sweep and band by hardware constants, by the other half and by the committed calibration."""
    counted = [verdict for verdict in verdicts if verdict.apart is None]
    for title, members in (("Sweeps", counted), ("Sweeps scored apart", [v for v in verdicts if v.apart])):
        if members:
            _table(console, title, members)
    if counted:
        console.print(_summary(counted))


def _table(console: Console, title: str, verdicts: Sequence[SweepVerdict]) -> None:
    headings = ("source", "operator", "ranks", "n", *(band for band, _ in BANDS), "missed")
    words = f"{title}: median error in % by {', '.join(COLUMNS)}"
    table = new_table(words, headings, left=("source", "operator", "missed"))
    for verdict in verdicts:
        labels = verdict.labels
        bands = {band.band: band for band in verdict.bands}
        table.add_row(
            str(labels["family"]),
            str(labels["operator"]),
            f"{labels['ranks']} on {labels['nodes']}",
            str(verdict.n),
            *(_medians(bands.get(band)) for band, _ in BANDS),
            "; ".join(_missed(verdict)),
        )
    console.print(table)


def _medians(band: BandVerdict | None) -> str:
    return "-" if band is None else " · ".join(f"{100 * band.medians[name]:.0f}" for name in COLUMNS)


def _missed(verdict: SweepVerdict) -> list[str]:
    return [
        f"{name}, {band.band}: {reason}" for band in verdict.bands for name, reason in band.misses.items()
    ]


def _summary(verdicts: Sequence[SweepVerdict]) -> str:
    parts = []
    for name, bars in BARS.items():
        bands = [band for verdict in verdicts for band in verdict.bands]
        met = sum(name not in band.misses for band in bands)
        limits = " / ".join(f"{100 * bar:.0f}" for bar in bars.values())
        parts.append(f"{name}: {met} of {len(bands)} bands within {limits} %")
    return "Bars of sweeps: " + "; ".join(parts)
