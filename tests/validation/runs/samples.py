"""Rows of the committed sample, and outcomes with times that a test chooses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from planner.validation.runs.express import Expressed, express
from planner.validation.runs.outcome import Outcome, outcomes
from planner.validation.runs.reading import read_rows
from planner.validation.runs.rows import RunRow
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.votes import load_votes

SAMPLE = Path(__file__).parents[2] / "data" / "runs" / "published.yaml"


@cache
def rows() -> dict[str, RunRow]:
    """Every row of the sample by id."""
    return {row.id: row for row in read_rows([SAMPLE])}


@cache
def shelf() -> Shelf:
    """What the rows share."""
    return Shelf()


@cache
def predicted() -> dict[str, Outcome]:
    """Every row of the sample, predicted."""
    return {outcome.row.id: outcome for outcome in outcomes(list(rows().values()), load_votes())}


def family(name: str) -> list[Outcome]:
    """Outcomes that are scored under a family."""
    return [outcome for outcome in predicted().values() if outcome.family == name]


def row(identity: str, **sections: dict[str, Any]) -> RunRow:
    """A row of the sample with some fields of its sections replaced; the value ``...`` takes a field away."""
    data = rows()[identity].model_dump(exclude_unset=True)
    for section, changes in sections.items():
        for name, value in changes.items():
            if value is ...:
                data[section].pop(name, None)
            else:
                data[section][name] = value
    return RunRow.model_validate(data)


def expressed(identity: str, **sections: dict[str, Any]) -> Expressed:
    """The readings of such a row, corrected as every row is before it is predicted."""
    return express(load_votes().corrected(row(identity, **sections)), shelf())


def with_error(outcome: Outcome, error: float) -> Outcome:
    """The outcome as if its run had taken a time that makes this the error of the prediction."""
    assert outcome.predicted_s is not None
    return replace(outcome, measured_s=outcome.predicted_s / (1.0 + error))
