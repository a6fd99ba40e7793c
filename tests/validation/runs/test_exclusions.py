"""The exclusion list is data: every entry names a row of the format, says what it is about, and why."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from planner.validation.runs.votes import Exclusion, load_votes
from tests.validation.runs.samples import rows

VOTES = load_votes()


def test_every_excluded_row_exists_in_the_sample() -> None:
    assert [item.id for item in VOTES.exclusions if item.id not in rows()] == []


def test_no_row_is_excluded_twice_for_the_same_thing() -> None:
    named = [(item.id, item.what) for item in VOTES.exclusions]
    assert len(named) == len(set(named))


def test_reasons_are_sentences() -> None:
    assert all(len(item.reason.split()) >= 5 for item in (*VOTES.exclusions, *VOTES.composed))
    with pytest.raises(ValidationError):
        Exclusion(id="x", what="time", reason="odd")


def test_an_entry_sets_apart_only_what_it_is_about() -> None:
    noop = next(row for row in rows().values() if "noop_layer" in row.id)
    assert VOTES.doubt(noop, "memory")
    assert VOTES.doubt(noop, "time") is None
    quirk = next(row for row in rows().values() if row.quirk)
    assert VOTES.doubt(quirk, "time") == quirk.quirk


def test_composed_rows_are_cells_of_their_own_family() -> None:
    row = next(row for row in rows().values() if row.id.startswith("vtrain-single"))
    assert VOTES.family(row) == "vtrain-single"
    assert VOTES.cell(row) == (row.model.hidden, row.layout.tp, row.layout.micro_batch)
    other = next(row for row in rows().values() if row.id.startswith("vtrain-multi"))
    assert VOTES.family(other) == "vtrain"
    assert VOTES.cell(other) is None
