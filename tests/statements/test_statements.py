"""Published statements: held within their own tolerance, or missed with a reason; recorded figures are the computed ones.

A figure that moved by more than 5 %, or into or out of what the statement allows, fails whether the model got better or worse:
look at it, then run ``python -m tests.statements``, which records what is computed and writes the table of docs/statements.md.
A statement that is missed needs a ``reason`` in its data file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.statements.all_sections import SECTIONS
from tests.statements.docs import table
from tests.statements.statement import Statement, statements

STATEMENTS = statements()


@pytest.mark.parametrize("key", STATEMENTS, ids="/".join)
def test_statement(key: tuple[str, str]) -> None:
    statement = STATEMENTS[key]
    figures = SECTIONS[statement.section][statement.name]()
    assert set(figures) == set(statement.ours) == set(statement.published)
    drifted = {cell: (statement.ours[cell], figures[cell]) for cell in statement.drifted(figures)}
    assert not drifted, f"recorded and computed figures differ; see the module's docstring: {drifted}"
    assert statement.outside(figures) == statement.missed, "held and missed have changed sides; record anew"
    assert statement.reason or not statement.missed, (
        f"outside what it allows, and no reason: {statement.missed}"
    )


def test_every_statement_is_computed_and_recorded() -> None:
    computed = {(section, name) for section, found in SECTIONS.items() for name in found}
    assert computed == set(STATEMENTS)


def test_docs_list_every_statement(root: Path) -> None:
    """With its verdict and the recorded figures."""
    assert table(STATEMENTS.values()) in (root / "docs" / "statements.md").read_text()


def sample(accept: dict[str, object], published: float | None = 2.0) -> Statement:
    cells = {"a": published}
    return Statement("s", "section", "source", "where", "says", accept, cells, {"a": 2.0}, None)


@pytest.mark.parametrize(
    ("accept", "inside", "beyond"),
    [
        ({"relative": 0.1}, (1.81, 2.19), (1.79, 2.21)),
        ({"absolute": 0.1}, (1.91, 2.09), (1.89, 2.11)),
        ({"between": [1.0, 3.0]}, (1.0, 3.0), (0.99, 3.01)),
        ({"at_least": 1.0}, (1.0, 99.0), (0.99,)),
        ({"at_most": 1.0}, (1.0, -99.0), (1.01,)),
    ],
)
def test_tolerances(accept: dict[str, object], inside: tuple[float, ...], beyond: tuple[float, ...]) -> None:
    statement = sample(accept)
    assert not any(statement.outside({"a": value}) for value in inside)
    assert all(statement.outside({"a": value}) for value in beyond)


@pytest.mark.parametrize(
    ("accept", "beyond"),
    [
        ({"between": [2.0, 3.0]}, 0.0),
        ({"at_most": 1.6}, 0.25),
        ({"at_least": 2.5}, 0.2),
        ({"absolute": 0}, 0.0),
    ],
)
def test_a_miss_is_measured_from_the_bound(accept: dict[str, object], beyond: float) -> None:
    """Ours is 2."""
    assert sample(accept).beyond("a") == pytest.approx(beyond)


def test_drift_is_five_percent() -> None:
    assert not sample({"at_least": 0}).drifted({"a": 2.09})
    assert sample({"at_least": 0}).drifted({"a": 2.11}) == ["a"]


def test_a_distance_needs_a_published_figure() -> None:
    with pytest.raises(ValueError, match="no published figure"):
        sample({"relative": 0.1}, None).outside({"a": 1.0})
