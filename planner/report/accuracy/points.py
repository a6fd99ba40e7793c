"""Sections on measured kernels and collectives."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.accuracy.markdown import pair, percent, table
from planner.report.accuracy.sources import Json


def kernels_section(kernels: Json) -> str:
    """Errors beyond rounding by operator and device; median / mean."""
    groups = [group for group in kernels["groups"] if "ranks" not in group and group["apart"] is None]
    others = _names(groups)
    headings = ("source", "accelerator", "operator", "sizes", "points", "median / mean", "90th pct.", *others)
    rows = (
        (
            group["family"],
            group["accelerator"],
            group["operator"],
            group["band"],
            str(group["predicted"]),
            pair(group["median_ape"], group["mean_ape"]),
            percent(group["p90_ape"]),
            *(_other(group, name) for name in others),
        )
        for group in groups
    )
    return table(headings, rows)


def _names(groups: Sequence[Json]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group["others"]))


def _other(group: Json, name: str) -> str:
    found = group["others"].get(name) or {}
    return pair(found.get("median_ape"), found.get("mean_ape"))


def collectives_section(collectives: Json) -> str:
    """Median errors of sweeps by size: hardware constants, half held out, committed calibration."""
    sweeps = [sweep for sweep in collectives["sweeps"] if sweep["apart"] is None]
    bands = tuple(dict.fromkeys(band["band"] for sweep in sweeps for band in sweep["bands"]))
    names = tuple(
        dict.fromkeys(name for sweep in sweeps for band in sweep["bands"] for name in band["median_ape"])
    )
    headings = ("source", "accelerator", "collective", "ranks", "nodes", "points", *bands)
    rows = (_sweep(sweep, bands, names) for sweep in sweeps)
    return f"Median error by size: {' / '.join(names)}.\n\n" + table(headings, rows)


def _sweep(sweep: Json, bands: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    found = {band["band"]: band["median_ape"] for band in sweep["bands"]}
    cells = (
        " / ".join(_short(found[band].get(name)) for name in names) + " %" if band in found else "-"
        for band in bands
    )
    words = (sweep["family"], sweep["accelerator"], sweep["operator"], str(sweep["ranks"]))
    return *words, str(sweep["nodes"]), str(sweep["n"]), *cells


def _short(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}"
