"""Documents: what is read, what is refused with a line, and files written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from planner.documents import Document, load_document, load_text, validate, write_text, write_yaml
from planner.documents.fields import count, quantity
from planner.documents.nodes import MAX_DEPTH
from planner.documents.reading import MAX_FILE_BYTES
from planner.documents.writing import to_yaml
from planner.errors import PlannerError

# A billion laughs: nine levels of ten would be 1e9 values.
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_yaml_1_2_scalars() -> None:
    text = "a: 1e9\nb: 0x10\nc: no\nd: true\ne: ~\nf: '12'\ng: 1_000\nh: -.5\ni: 08\nj: 2024-01-01\nk: 0o17\n"
    expected = {"a": 1e9, "b": 16, "c": "no", "d": True, "e": None, "f": "12", "g": 1000, "h": -0.5, "i": 8}
    expected |= {"j": "2024-01-01", "k": 15}
    data = load_text(text).data
    assert data == expected
    assert isinstance(data["a"], float)


def test_lines_are_those_of_the_keys() -> None:
    document = load_text("# comment\nmodel: x\nnetwork:\n  - name: a\n    size: 8\n  -\n    name: b\n")
    assert document.lines[("model",)] == 2
    assert document.lines[("network", 0, "size")] == 5
    assert document.lines[("network", 1, "name")] == 7
    assert document.line(("network", 1, "missing", "deeper")) == 7


def test_aliases_and_merge_keys_are_expanded() -> None:
    text = "base: &base {a: 1, b: 2}\nuse: {<<: *base, b: 3}\nmany: {<<: [*base, {c: 4}]}\nagain: *base\n"
    data = load_text(text).data
    assert data["use"] == {"a": 1, "b": 3}
    assert data["many"] == {"a": 1, "b": 2, "c": 4}
    assert data["again"] == {"a": 1, "b": 2}


REFUSED = [
    ("a: 1\nb: 2\na: 3\n", 3, "twice"),
    ("a:\n  b: &x\n    c: *x\n", 3, "cyclic"),
    ("a: &x [1, *x]\n", 1, "cyclic"),
    (BOMB, None, "too many values"),
    ("a: *nothing\n", 1, "no anchor"),
    ("x: 1\na: !!python/object/apply:os.system [ls]\n", 2, "tags"),
    ("a: !custom 1\n", 1, "tags"),
    ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
    ("a: b: c\n", 1, "not valid YAML"),
    ("a:\n\t- x\n", 2, "not valid YAML"),
    ("a: 1\n---\nb: 2\n", None, "more than one"),
    ("[" * 200 + "]" * 200, 1, "nested deeper"),
    ("[" * 100_000, 1, "nested deeper"),
    ("? [a, b]\n: 1\n", 1, "keys are plain"),
    ("a: {<<: 3}\n", 1, "merges mappings"),
    ("a: " + "9" * 10_000, 1, "digits"),
    ("", None, "empty"),
    ("# only a comment\n", None, "empty"),
    ("~\n", None, "empty"),
]


@pytest.mark.parametrize(("text", "line", "reason"), REFUSED)
def test_refused_yaml(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(PlannerError) as caught:
        load_document(path)
    assert caught.value.file == str(path)
    assert reason in caught.value.message
    if line is not None:
        assert caught.value.line == line
    assert "\n" not in str(caught.value)


REFUSED_JSON = [
    ('{"a": 1,\n "a": 2}', 2, "twice"),
    ('{"a": 1,}', 1, "comma"),
    ('{"a": 1\n "b": 2}', 2, "where ',' belongs"),
    ('{"a": NaN}', 1, "neither a number"),
    ('{"a": 012}', 1, "neither a number"),
    ('{"a": \n "x', 2, "does not end"),
    ('{"a": "\\q"}', 1, "escape"),
    ("{a: 1}", 1, "quotes"),
    ("[" * 100_000, 1, "nested deeper"),
    ("{} {}", 1, "after the end"),
    ('{"a": ', 1, "too early"),
]


@pytest.mark.parametrize(("text", "line", "reason"), REFUSED_JSON)
def test_refused_json(text: str, line: int, reason: str) -> None:
    with pytest.raises(PlannerError) as caught:
        load_text(text, Path("bad.json"), json=True)
    assert reason in caught.value.message
    assert caught.value.line == line


def test_files_that_cannot_be_documents(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"a: \x00\x01")
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: \xe9\n".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    cases = {
        "missing.yaml": "does not exist",
        ".": "is a directory",
        "binary.yaml": "binary",
        "latin.yaml": "UTF-8",
        "large.yaml": "larger than 8 MiB",
        "na\x00me.yaml": "does not exist|cannot be read",
    }
    for name, reason in cases.items():
        with pytest.raises(PlannerError, match=reason):
            load_document(tmp_path / name)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_json_agrees_with_the_standard_library(value: Any) -> None:
    document = load_text(json.dumps({"top": value}, indent=1), json=True)
    assert document.data == {"top": value}
    assert document.lines[("top",)] == 2


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters="\x7f"), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text("abcdefgh_1<", min_size=1, max_size=8).filter(lambda k: k != "<<"), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(plain)
def test_written_yaml_reads_back(value: Any) -> None:
    assert load_text(to_yaml({"top": value})).data == {"top": value}


@given(st.text(max_size=60))
def test_any_text_is_a_document_or_one_error(text: str) -> None:
    for is_json in (False, True):
        try:
            load_text(text, json=is_json)
        except PlannerError as error:
            message = str(error)
        else:
            message = ""
        assert "\n" not in message


def test_depth_just_inside_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert load_text("[" * depth + "]" * depth).data is not None


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    bandwidth: Annotated[float, quantity("bytes/s", allow_zero=False)]
    fabric: str = "switch"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    batch: Annotated[int | None, count()] = None
    network: list[Inner] = []
    inner: Inner | None = None


def test_validate_reads_quantities_and_counts() -> None:
    document = load_text("name: x\nbatch: 8M\nnetwork:\n - {bandwidth: 400 Gb/s}\n")
    model = validate(document, Outer)
    assert (model.batch, model.network[0].bandwidth) == (8_000_000, 50e9)
    assert validate(document, Inner, ("network", 0)).bandwidth == 50e9


FAULTS = [
    ("nam: x\n", 1, "nam", "did you mean 'name'?"),
    ("name: x\nnetwork:\n - bandwith: 5 GB/s\n", 3, "network[0].bandwith", "did you mean 'bandwidth'?"),
    ("name: x\ninner:\n  bandwidth: 5 GB/s\n  fabrik: y\n", 4, "inner.fabrik", "did you mean 'fabric'?"),
    ("name: x\nnetwork:\n - fabric: y\n", 3, "network[0].bandwidth", "missing"),
    ("name: x\nnetwork:\n - bandwidth: 5 GB\n", 3, "network[0].bandwidth", "does not measure bytes/s"),
    ("name: x\nbatch: 1.5\n", 2, "batch", "whole number"),
    ("name: x\nnetwork: 3\n", 2, "network", "found 3"),
    ("name: x\nnetwork:\n - 7\n", 3, "network[0]", "a mapping of keys to values"),
    ("name: [1]\n", 1, "name", "found a list"),
    ("- a\n- b\n", 1, None, "found a list; a mapping"),
    ("just text\n", 1, None, "a mapping of keys to values"),
]


@pytest.mark.parametrize(("text", "line", "field", "reason"), FAULTS)
def test_faults_name_file_line_and_field(text: str, line: int, field: str | None, reason: str) -> None:
    with pytest.raises(PlannerError) as caught:
        validate(load_text(text, Path("job.yaml")), Outer)
    error = caught.value
    assert (error.file, error.line, error.field) == ("job.yaml", line, field)
    assert reason in error.message
    assert "\n" not in str(error)


def test_values_without_a_file_are_validated_too() -> None:
    with pytest.raises(PlannerError) as caught:
        validate(Document(None, {"name": "x", "batc": 1}), Outer)
    assert (caught.value.file, caught.value.line, caught.value.field) == (None, None, "batc")


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_yaml(path, {"a": [1, 2.5, None], "b": {"c": "1e9"}})
    assert load_document(path).data == {"a": [1, 2.5, None], "b": {"c": "1e9"}}
    before = path.read_text()
    with pytest.raises(Exception, match="represent"):
        write_yaml(path, {"a": object()})
    assert path.read_text() == before
    with pytest.raises(PlannerError, match="cannot be written"):
        write_text(tmp_path / "no" / "folder.txt", "x")
    with pytest.raises(PlannerError, match="is a directory"):
        write_text(tmp_path, "x")
    assert [item.name for item in tmp_path.iterdir()] == ["plan.yaml"]


def test_a_crash_while_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["out.txt"]
