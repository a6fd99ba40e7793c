"""What kind of measurements some files hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from planner.documents.reading import read_text
from planner.errors import PlannerError
from planner.hardware.calibration_files import Data
from planner.validation.csv_rows import header_of
from planner.validation.files import measurement_files
from planner.validation.kernels.formats import FORMATS

ENDINGS = (".csv", ".yaml", ".yml")

LARGEST_BYTES = 64 * 2**20

_OWN, _KERNELS = re.compile(r"^machine:", re.MULTILINE), re.compile(r"^kernels:", re.MULTILINE)
_COLLECTIVES = re.compile(r"^points:", re.MULTILINE)


def data_of(paths: Sequence[str | Path]) -> Data:
    """The one kind of data that the files and folders hold.

    Raises:
        PlannerError: nothing there, or several kinds: each has a calibration of its own.
    """
    found: dict[Data, Path] = {}
    for file in measurement_files(paths, ENDINGS, "measurements (.yaml, .csv)"):
        found.setdefault(_data_of(file), file)
    if len(found) > 1:
        named = ", ".join(f"{data} in {file.name}" for data, file in found.items())
        raise PlannerError(
            f"found {named}; one kind at a time is accepted, each has a calibration of its own"
        )
    return next(iter(found))


def _data_of(file: Path) -> Data:
    if file.suffix == ".csv":
        header = set(header_of(file))
        return "collectives" if set(FORMATS["collectives"]) <= header else "kernels"
    text = read_text(file, "YAML", limit_bytes=LARGEST_BYTES)
    if _OWN.search(text):
        return "device" if _KERNELS.search(text) else "network"
    return "collectives" if _COLLECTIVES.search(text) else "runs"
