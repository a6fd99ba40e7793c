"""Measured links between nodes: what files are read, and where their faults are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.errors import PlannerError
from planner.hardware.links import load_links

PLAIN = "0,10,20\n30,0,40\n50,60,0\n"
NAMED = "# GB/s\n,a,b,c\na,,10,20\nb,30,-,40\n\nc,50,60,0\n"


def written(folder: Path, text: str) -> Path:
    """The text as a file."""
    file = folder / "links.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (PLAIN, ("node-0", "node-1", "node-2")),
        (NAMED, ("a", "b", "c")),
        ("a,b,c\n" + PLAIN, ("a", "b", "c")),
        ("a,0,10,20\nb,30,0,40\nc,50,60,0\n", ("a", "b", "c")),
    ],
)
def test_rows_send_to_columns(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    links = load_links(written(tmp_path, text), nodes=3)
    assert links.names == names
    assert links.bandwidth[0, 1] == 10e9
    assert links.bandwidth[1, 0] == 30e9
    assert np.isinf(np.diag(links.bandwidth)).all()
    assert sorted(links.between() / 1e9) == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("", None, None, "is empty"),
        ("0,10,20\n30,0,x\n50,60,0\n", 2, "column 3", "found 'x'"),
        ("0,10,20\n30,0,40\n50,-6,0\n", 3, "column 2", "found '-6'"),
        ("0,10,20\n30,0,0\n50,6,0\n", 2, "column 3", "GB/s above 0"),
        ("0,10,inf\n30,0,4\n50,6,0\n", 1, "column 3", "found 'inf'"),
        ("0,10,nan\n30,0,4\n50,6,0\n", 1, "column 3", "found 'nan'"),
        ("0,10,4\n30,0,1e7\n50,60,0\n", 2, "column 3", "up to 1,000,000"),
        (",a,b,c\nb,1,,3\na,,2,3\nc,1,2,\n", None, None, "differ"),
        (",a,b\na,0,\nb,1,0\n", 2, "column 3", "found ''"),
        ("0,10\n30,0,40\n50,60,0\n", 1, None, "has 2 rates; one for each of the 3 nodes"),
        ("0\n", None, None, "has 1 lines of rates"),
        (",a,c\na,0,1\nb,1,0\n", None, None, "differ"),
        (",a,a\na,0,1\na,1,0\n", None, None, "'a' names two nodes"),
        ("a,b,c\n0,1\n1,0\n", None, None, "has 3 of them for 2 nodes"),
    ],
)
def test_faults_have_their_place(
    tmp_path: Path, text: str, line: int | None, field: str | None, message: str
) -> None:
    with pytest.raises(PlannerError, match=message) as caught:
        load_links(written(tmp_path, text))
    assert (caught.value.line, caught.value.field) == (line, field)
    assert str(caught.value).startswith(str(tmp_path))


def test_fewer_nodes_than_needed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="3 lines of rates, but 4 nodes are needed"):
        load_links(written(tmp_path, PLAIN), nodes=4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="does not exist"):
        load_links(tmp_path / "none.csv")
