"""Which files a validation reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.validation.files import measurement_files


def test_folders_are_searched_in_order_and_each_file_counts_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv", "notes.md"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    found = measurement_files([tmp_path, tmp_path / "a.csv"], (".csv",), "tables")
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a.csv", "b.csv", "sub/c.csv"]


def test_a_named_file_is_read_whatever_its_ending(tmp_path: Path) -> None:
    file = tmp_path / "table.txt"
    file.write_text("x")
    assert measurement_files([file], (".csv",), "tables", wanted=lambda one: False) == [file]


@pytest.mark.parametrize("name", ["absent.csv", "x" * 5000, "nul\0l"])
def test_a_path_that_does_not_exist(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlannerError, match="does not exist; accepted: tables, or a folder of them"):
        measurement_files([str(tmp_path / name)], (".csv",), "tables")


def test_a_folder_without_measurements(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="holds no tables"):
        measurement_files([tmp_path], (".csv",), "tables")
