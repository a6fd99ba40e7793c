"""Which family of constraints is named, by how much it is missed, and the file of a programme."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.solvers.linear import Builder, Programme, blame, no_answer, solve, write_lp


def shelf(weights: list[float], boards: int, most: float) -> Programme:
    """Every weight lies on one board, and no board holds more than ``most``; boards have room for plenty."""
    builder = Builder()
    x = builder.variables("x", (len(weights), boards), upper=1, integer=True)
    builder.add("once", (x, 1.0), equal=1.0, meaning="every thing lies somewhere", definition=True)
    builder.add("load", (x.T, np.array(weights)), upper=most, meaning="what a board carries", unit="kg")
    builder.add("room", (x.T, 1.0), upper=99.0, meaning="room on a board")
    return builder.programme()


def test_a_family_that_is_missed_by_a_known_amount() -> None:
    found = blame(shelf([5.0, 5.0, 5.0], 2, 6.0))  # 15 kg on boards for 12
    assert found is not None
    assert [family.name for family in found.conflict] == ["once", "load"]
    assert [[family.name for family in remedy.families] for remedy in found.remedies] == [["load"]]
    assert found.remedies[0].misses == (pytest.approx(3.0),)
    assert not found.integer
    assert found.text == (
        "load (what a board carries) cannot be met: feasible with load relaxed by 3 kg in total"
    )


def test_whole_numbers_may_be_the_trouble() -> None:
    found = blame(shelf([5.0, 5.0, 5.0], 2, 8.0))  # 15 kg on boards for 16, but 5 + 5 > 8
    assert found is not None
    assert found.integer
    assert "in whole numbers" in found.text
    assert found.remedies[0].misses == (pytest.approx(2.0, rel=1e-3),)


def test_two_families_that_contradict_each_other() -> None:
    builder = Builder()
    x = builder.variables("x", upper=10)
    builder.add("floor", (x, 1.0), lower=6.0)
    builder.add("ceiling", (x, 1.0), upper=4.0)
    builder.add("idle", (x, 1.0), upper=50.0)
    found = blame(builder.programme())
    assert found is not None
    assert [family.name for family in found.conflict] == ["floor", "ceiling"]
    assert found.text.startswith("floor and ceiling contradict each other: feasible with ")
    assert {remedy.families[0].name: remedy.misses[0] for remedy in found.remedies} == {
        "floor": pytest.approx(2.0),
        "ceiling": pytest.approx(2.0),
    }


def test_two_contradictions_need_two_families() -> None:
    builder = Builder()
    x, y = builder.variables("x", upper=1), builder.variables("y", upper=1)
    builder.add("much_x", (x, 1.0), lower=3.0)
    builder.add("much_y", (y, 1.0), lower=2.0)
    found = blame(builder.programme())
    assert found is not None
    assert [[family.name for family in remedy.families] for remedy in found.remedies] == [
        ["much_x", "much_y"]
    ]
    assert found.remedies[0].misses == (pytest.approx(2.0), pytest.approx(1.0))


def test_nothing_is_to_blame_for_a_feasible_programme() -> None:
    assert blame(shelf([5.0, 5.0], 2, 6.0)) is None


def test_the_error_names_the_family() -> None:
    error = no_answer(shelf([5.0, 5.0, 5.0], 2, 6.0), what="shelf that holds")
    assert isinstance(error, NoAnswerError)
    assert str(error).startswith("no shelf that holds: load")


def test_the_file_reads_back_as_the_same_programme(tmp_path: Path) -> None:
    """HiGHS' own reader of LP files is the judge."""
    import highspy

    builder = Builder()
    x = builder.variables("x", (2, 2), upper=5, integer=True, cost=[[-3, -2], [-4, 1]])
    y = builder.variables("y", lower=-1.0, upper=2.5, cost=-1.0)
    builder.add("rows", (x, [[2, 1], [3, 1]]), (y, 1.0), lower=-4.0, upper=[7, 8])
    builder.add("tie", (x[0, 0], 1.0), (x[1, 1], -1.0), equal=1.0)
    programme = builder.programme()
    file = tmp_path / "programme.lp"
    write_lp(programme, file)
    text = file.read_text()
    assert "x_0_1" in text
    assert "rows_1" in text
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    assert model.readModel(str(file)) == highspy.HighsStatus.kOk
    model.run()
    solution = solve(programme)
    assert solution.objective == pytest.approx(model.getObjectiveValue())
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="cannot be written"):
        write_lp(shelf([1.0], 1, 2.0), tmp_path / "no" / "programme.lp")
