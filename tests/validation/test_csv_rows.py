"""CSV tables: formats told apart by their headings, and every fault with file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.validation.csv_rows import count, microseconds, read_rows, word

FORMATS = {
    "kernels": {"gpu": word, "m": count, "time_us": microseconds},
    "other": {"node": word, "bytes": count},
}


def write(folder: Path, text: str) -> Path:
    file = folder / "table.csv"
    file.write_text(text)
    return file


def test_rows_are_read_with_their_lines_in_any_order_of_columns(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "m,gpu,time_us\n4096,a100,8.5\n\n512.0, h100 ,1e3\n"), FORMATS)
    assert rows.kind == "kernels"
    assert rows.lines == [2, 4]
    assert rows.columns == {"m": [4096, 512], "gpu": ["a100", "h100"], "time_us": [8.5, 1000.0]}


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        (
            "gpu,time_us\n",
            1,
            "header",
            "found the header 'gpu,time_us'; accepted: gpu,m,time_us or node,bytes",
        ),
        ("gpu,m,tim_us\na,1,1\n", 1, "header", "unknown column 'tim_us': did you mean 'time_us'?"),
        ("gpu,m,m,time_us\na,1,2,1\n", 1, "header", "the column 'm' occurs twice"),
        ("gpu,m,time_us\n", None, None, "no row"),
        ("gpu,m,time_us\na,1\n", 2, None, "found 2 cells; 3 are accepted"),
        ("gpu,m,time_us\na,1,1\na,0,1\n", 3, "m", "at least 1"),
        ("gpu,m,time_us\na,1.5,1\n", 2, "m", "whole number"),
        ("gpu,m,time_us\na,1,-3\n", 2, "time_us", "above 0"),
        ("gpu,m,time_us\na,1,0\n", 2, "time_us", "above 0"),
        ("gpu,m,time_us\na,1,nan\n", 2, "time_us", "finite"),
        ("gpu,m,time_us\na,1,inf\n", 2, "time_us", "finite"),
        ("gpu,m,time_us\na,1,fast\n", 2, "time_us", "found 'fast'; a number"),
        ("gpu,m,time_us\na,1,1e300\n", 2, "time_us", "below"),
        ("gpu,m,time_us\n,1,1\n", 2, "gpu", "a name"),
        ('gpu,m,time_us\n"a,1,1\n', 2, None, "not valid CSV"),
    ],
)
def test_faults_name_their_place(
    tmp_path: Path, text: str, line: int | None, field: str | None, words: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(PlannerError) as caught:
        read_rows(file, FORMATS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(file), line, field)


def test_further_columns_are_ignored(tmp_path: Path) -> None:
    """Spreadsheets leave a byte order mark, their own line ends, empty lines and notes beside the figures."""
    text = "\r\nGPU,note,m,time_us,\r\na100,,1,2.5,\r\nh100,warm,2,3,x\r\n"
    file = tmp_path / "table.csv"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    rows = read_rows(file, FORMATS)
    assert rows.columns == {"gpu": ["a100", "h100"], "m": [1, 2], "time_us": [2.5, 3.0]}


def test_a_table_of_more_rows_than_anyone_measures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.validation.csv_rows.MOST_ROWS", 2)
    with pytest.raises(PlannerError, match="more than 2 rows") as caught:
        read_rows(write(tmp_path, "node,bytes\na,1\na,2\na,3\n"), FORMATS)
    assert caught.value.line == 4


def test_an_empty_file_has_a_wrong_header(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="found the header ''"):
        read_rows(write(tmp_path, ""), FORMATS)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, "gpu,m,time_us\n")
    with file.open("r+b") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(PlannerError, match="larger than 64 MiB"):
        read_rows(file, FORMATS)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(b"gpu\x00m")
    with pytest.raises(PlannerError, match="binary"):
        read_rows(file, FORMATS)
