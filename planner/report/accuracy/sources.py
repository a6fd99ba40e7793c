"""What the page on accuracy is made of."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import load_document, validate
from planner.errors import PlannerError

Json = Mapping[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Strict):
    """Why rows are far off.

    Args:
        rows: patterns of their ids.
    """

    rows: Annotated[tuple[str, ...], Field(min_length=1)]
    reason: Annotated[str, Field(min_length=10)]


class Notes(_Strict):
    """What people wrote about the figures: reasons of large errors and costly choices, and what is known to be wrong."""

    reasons: tuple[Reason, ...] = ()
    known: tuple[str, ...] = ()

    def reason(self, row: str) -> str:
        """The first reason whose patterns match a row."""
        for item in self.reasons:
            if any(fnmatch.fnmatchcase(row, pattern) for pattern in item.rows):
                return item.reason
        return "unexplained"


@dataclass(frozen=True)
class Sources:
    """JSON of the validation commands.

    Args:
        runs, priors: of published runs by the calibration, and by priors alone.
        left_out: the file beside the calibration; ablation: of `plan validate ablation`; both may be missing.
        calibrations: parts of the catalogue's calibration.
    """

    runs: Json
    priors: Json
    kernels: Json
    collectives: Json
    left_out: Json | None
    ablation: Json | None
    calibrations: Sequence[Json]
    notes: Notes


def read_json(path: str | Path) -> Json:
    """An object of a JSON file.

    Raises:
        PlannerError: it is missing or no JSON object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlannerError("cannot be read", file=path) from error
    except json.JSONDecodeError as error:
        raise PlannerError(f"is no JSON: {error.msg}", file=path, line=error.lineno) from error
    if not isinstance(found, dict):
        raise PlannerError("holds no JSON object", file=path)
    return found


def read_notes(path: Path) -> Notes:
    """The notes of a folder of documentation; none without a file.

    Raises:
        PlannerError: a faulty file.
    """
    return validate(load_document(path), Notes) if path.exists() else Notes()
