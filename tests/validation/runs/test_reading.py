"""Files of published runs: what is read, and what is refused with file, line, row and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.documents import load_document
from planner.documents.bulk import read_records
from planner.errors import PlannerError
from planner.validation.runs.reading import read_rows, row_files
from tests.validation.runs.samples import SAMPLE, rows

ROW = """\
runs:
- id: one
  family: somewhere
  model: {layers: 2, hidden: 64, heads: 4, seq_len: 128}
  hardware: {accelerator: a100-sxm-80gb, count: 8}
  layout: {tp: 1, pp: 1}
  measured: {step_time_s: 1.5}
"""


def written(folder: Path, text: str, name: str = "rows.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_sample_is_read_whole() -> None:
    assert len(rows()) == 73
    assert rows()["korthikanti22-tab5-22b-full"].measured.step_time_s == 1.42


def test_rows_are_what_the_guarded_reader_reads() -> None:
    """The parser in C and the one in Python see the same document, with the same lines."""
    slow = load_document(SAMPLE)
    records = list(read_records(SAMPLE, "runs"))
    assert [record.data for record in records] == slow.data["runs"]
    lines = records[5].document().lines
    assert lines[("layout", "tp")] == slow.lines[("runs", 5, "layout", "tp")]


def test_folders_are_read_file_by_file(tmp_path: Path) -> None:
    written(tmp_path, ROW, "b.yaml")
    (tmp_path / "inner").mkdir()
    written(tmp_path / "inner", ROW.replace("one", "two"), "a.yml")
    written(tmp_path, "no rows", "notes.md")
    assert [row.id for row in read_rows([tmp_path])] == ["one", "two"]


def test_a_file_named_twice_is_read_once() -> None:
    assert row_files([SAMPLE, SAMPLE]) == (SAMPLE,)


def test_words_where_a_number_belongs_are_unknown(tmp_path: Path) -> None:
    text = ROW.replace("seq_len: 128", "seq_len: 1024 in the text, not in the table").replace(
        "tp: 1", "tp: null"
    )
    (row,) = read_rows([written(tmp_path, text)])
    assert row.model.seq_len is None
    assert row.layout.tp is None


def test_unknown_keys_are_kept_out_of_the_way(tmp_path: Path) -> None:
    (row,) = read_rows([written(tmp_path, ROW.replace("pp: 1", "pp: 1, colour: [red]"))])
    assert row.layout.pp == 1


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("step_time_s: 1.5", "step_time_s: -1"), 7, "measured.step_time_s"),
        (("step_time_s: 1.5", "step_time_s: .nan"), 7, "finite number"),
        (("tp: 1", "tp: 0"), 6, "layout.tp"),
        (("tp: 1", "tp: 1.5"), 6, "whole number"),
        (("  family: somewhere\n", ""), 2, "family"),
        (("accelerator: a100-sxm-80gb, ", ""), 5, "hardware.accelerator"),
    ],
)
def test_impossible_values_name_line_row_and_field(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    path = written(tmp_path, ROW.replace(*change))
    with pytest.raises(PlannerError) as caught:
        list(read_rows([path]))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "row 'one'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("runs: 5\n", "found no list"),
        ("rows:\n- {id: one}\n", "no key 'runs'"),
        ("- id: one\n", "no mapping"),
        ("runs: [\n", "not valid YAML"),
        ("runs:\n- id: one\n  id: two\n", "twice"),
        ("runs: " + "[" * 5000, "nested deeper"),
        ("runs:\n- !!python/object:os.system {}\n", "tag"),
        ("a: &a [*a]\nruns: []\n", "contains itself"),
    ],
)
def test_what_is_no_list_of_runs(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PlannerError, match=words):
        list(read_rows([written(tmp_path, text)]))


def test_an_id_occurs_once(tmp_path: Path) -> None:
    written(tmp_path, ROW, "a.yaml")
    written(tmp_path, ROW, "b.yaml")
    with pytest.raises(PlannerError, match="'one' occurs twice"):
        list(read_rows([tmp_path]))


def test_missing_paths_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="does not exist"):
        list(read_rows([tmp_path / "none.yaml"]))
    with pytest.raises(PlannerError, match=r"no \.yaml file"):
        list(read_rows([tmp_path]))
