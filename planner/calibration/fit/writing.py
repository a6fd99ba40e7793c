"""The calibration file: one line per constant, so that a change of a fit reads as a difference of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

from planner.documents import write_text
from planner.errors import PlannerError
from planner.hardware.calibration_files import CalibratedScope, Calibration, Own, load_calibration

SECTIONS = ("accelerators", "architectures", "attention", "networks", "frameworks")

HEAD = (
    "# Written by `plan calibrate`; do not edit: run it again. Docs: docs/calibration.md.\n"
    "# value: fitted; prior and spread (of the logarithm; of a share, of itself): where it started and what pulls it back;\n"
    "# lower, upper: physical bounds; rows, groups: measurements that depend on it, and their sources (family x accelerator).\n"
)


def write_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration that ``load_calibration`` reads back, whole or not at all."""
    write_text(path, calibration_text(calibration))


def merge_calibration(path: str | Path, calibration: Calibration) -> Calibration:
    """Write own measurements into a file that may hold others of the same machine: constants that both state are those of
    the new ones, all else stays.

    Returns:
        what the file holds then.

    Raises:
        PlannerError: the file exists and holds something else than a calibration of own measurements.
    """
    file = Path(path)
    whole = calibration
    if file.exists():
        before = load_calibration(file)
        if before.data not in get_args(Own):
            raise PlannerError(
                f"holds a calibration of {before.data}; own measurements go into a file of their own",
                file=file,
            )
        whole = _merged(before, calibration)
    write_calibration(file, whole)
    return whole


def _merged(before: Calibration, new: Calibration) -> Calibration:
    sections = {}
    for name in SECTIONS:
        old, fresh = getattr(before, name), getattr(new, name)
        both = {scope: _over(old[scope], fresh[scope]) for scope in old if scope in fresh}
        sections[name] = {**old, **fresh, **both}
    same = before.data == new.data
    return new.model_copy(
        update={
            **sections,
            "name": new.name if same else before.name,
            "data": new.data if same else "machine",
            "data_sha256": new.data_sha256 if same else f"{before.data_sha256} {new.data_sha256}",
            "rows": new.rows if same else before.rows + new.rows,
            "provenance": before.provenance | new.provenance,
            "spreads": new.spreads or before.spreads,
        }
    )


def _over(old: CalibratedScope, new: CalibratedScope) -> CalibratedScope:
    families = tuple(dict.fromkeys((*old.families, *new.families)))
    constants = dict(sorted({**old.constants, **new.constants}.items()))
    return CalibratedScope(members=new.members, families=families, constants=constants)


def calibration_text(calibration: Calibration) -> str:
    """The file's text."""
    lines = [f'{name}: "{getattr(calibration, name)}"' for name in ("name", "date", "data", "data_sha256")]
    lines.append(f"rows: {calibration.rows}")
    if calibration.provenance:
        lines += ["provenance:", *(f'  {what}: "{said}"' for what, said in calibration.provenance.items())]
    for section in SECTIONS:
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
