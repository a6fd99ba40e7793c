"""The table of a sweep on disk: whole at every instant, each row once, whoever comes second is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.studies.sweep import store as module
from planner.studies.sweep.rows import column_kinds
from planner.studies.sweep.store import Store, files_of, parts_folder, stored_table

KINDS = column_kinds({"x": [1, 2]})
KEYS = [f"k{number}" for number in range(10)]
ORDER = {key: place for place, key in enumerate(KEYS)}


def row(number: int, status: str = "ok") -> dict[str, Any]:
    return {"x": number, "status": status, "key": KEYS[number], "inputs": "planner=1"}


def keys_in(path: Path) -> list[str]:
    keys: list[str] = stored_table(path).column("key").to_pylist()
    return keys


class Crash(BaseException):
    """The process is gone."""


def write_all(path: Path, numbers: list[int]) -> None:
    """A run that stores the rows one part each, and finishes."""
    store = Store(path, KINDS)
    store.open()
    try:
        done = set(store.rows().column("key").to_pylist())
        for number in numbers:
            if KEYS[number] not in done:
                store.append([row(number)])
        store.finish(ORDER)
        store.close()
    except Crash:
        os.close(store._lock or 0)  # as the end of a process does
        raise


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From the n-th change to the file system on, nothing is done any more."""
    monkeypatch.setattr(module, "MOST_PARTS", 3)
    replace, unlink = os.replace, Path.unlink

    def arm(at: int) -> None:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count >= at:
                raise Crash

        def dying_replace(*args: Any) -> None:
            step()
            replace(*args)

        def dying_unlink(self: Path, missing_ok: bool = False) -> None:
            step()
            unlink(self, missing_ok)

        monkeypatch.setattr(os, "replace", dying_replace)
        monkeypatch.setattr(Path, "unlink", dying_unlink)

    def disarm_or_arm(at: int) -> None:
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(Path, "unlink", unlink)
        if at:
            arm(at)

    return disarm_or_arm


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_crash_at_any_change_of_the_file_system_loses_and_doubles_nothing(
    tmp_path: Path, crash_at: Callable[[int], None], suffix: str
) -> None:
    crashes = 0
    for at in range(1, 100):
        path = tmp_path / f"{at}{suffix}"
        crash_at(at)
        try:
            write_all(path, list(range(10)))
        except Crash:
            crashes += 1
        else:
            break
        finally:
            crash_at(0)
        if files_of(path):
            before = keys_in(path)
            assert before == KEYS[: len(before)]
        write_all(path, list(range(10)))
        assert keys_in(path) == KEYS
        assert files_of(path) == [path]
    # Ten parts, joined at each third, and one table: at least twenty renames and removals.
    assert 20 < crashes < 99


def test_the_last_row_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    store = Store(path, KINDS)
    store.open()
    store.append([row(1, "error"), row(0)])
    store.append([row(1, "ok")])
    table = store.finish(ORDER)
    store.close()
    assert table.column("status").to_pylist() == ["ok", "ok"]
    assert table.column("x").to_pylist() == [0, 1]
    assert not parts_folder(path).exists()


def test_an_unfinished_table_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    store = Store(path, KINDS)
    store.open()
    store.append([row(3)])
    store.append([row(5)])
    assert keys_in(path) == ["k3", "k5"]
    store.close()
    assert not path.exists()


def test_two_sweeps_do_not_write_one_table(tmp_path: Path) -> None:
    first, second = (Store(tmp_path / "t.parquet", KINDS) for _ in range(2))
    first.open()
    with pytest.raises(PlannerError, match="another sweep is writing"):
        second.open()
    first.close()
    second.open()
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_fresh_takes_away_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_all(path, [0, 1])
    store = Store(path, KINDS)
    store.open(fresh=True)
    assert store.rows().num_rows == 0
    store.close()


def test_fresh_leaves_other_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "links.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(PlannerError, match="is no table of a sweep"):
        Store(path, KINDS).open(fresh=True)
    assert path.read_text() == "a,b\n1,2\n"


def test_types_and_gaps_come_back_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    store = Store(path, KINDS)
    store.open()
    store.append([{**row(0), "fits": True, "mfu": 0.1 + 0.2, "message": None, "offload": '{"a": "b, c"}'}])
    store.finish(ORDER)
    store.close()
    (back,) = stored_table(path).to_pylist()
    assert (back["fits"], back["mfu"], back["message"]) == (True, 0.1 + 0.2, None)
    assert back["offload"] == '{"a": "b, c"}'
    assert back["step_time_s"] is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.parquet", b"not parquet", "cannot be read as the table of a sweep"),
        ("t.csv", b"a,b\n1,2\n", "is no table of a sweep"),
        ("t.txt", b"", "accepted: .parquet, .csv"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlannerError) as caught:
        stored_table(tmp_path / name)
    assert words in str(caught.value)


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="does not exist"):
        stored_table(tmp_path / "t.parquet")
