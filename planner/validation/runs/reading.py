"""Files and folders of published runs to rows, file by file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from planner.documents.bulk import Record, read_records
from planner.documents.validation import validate
from planner.errors import PlannerError
from planner.validation.runs.rows import RunRow

KEY = "runs"


def row_files(paths: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that the paths name: files themselves, and every YAML file below folders, sorted.

    Raises:
        PlannerError: a path does not exist, or a folder holds no YAML file.
    """
    found: list[Path] = []
    for item in paths:
        path = Path(item)
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))
        if not inside:
            raise PlannerError("holds no .yaml file of published runs", file=path)
        found += inside
    return tuple(dict.fromkeys(found))


def read_rows(paths: Sequence[str | Path]) -> Iterator[RunRow]:
    """Every row of the files in order.

    Raises:
        PlannerError: a file that is no list of runs, a row that does not fit the format, an id that occurs twice;
            names file, line, row and field.
    """
    seen: dict[str, Path] = {}
    for path in row_files(paths):
        for row in _rows(read_records(path, KEY)):
            if row.id in seen:
                raise PlannerError(f"the id '{row.id}' occurs twice, first in {seen[row.id]}", file=path)
            seen[row.id] = path
            yield row


def _rows(records: Iterable[Record]) -> Iterator[RunRow]:
    for record in records:
        data = record.data
        try:
            yield RunRow.model_validate(data)
        except ValidationError:
            yield _explained(record)


def _explained(record: Record) -> RunRow:
    """The same row read once more with line numbers, for the message."""
    document = record.document()
    name = document.data.get("id") if isinstance(document.data, dict) else None
    try:
        return validate(document, RunRow)
    except PlannerError as error:
        where = f"row '{name}': " if isinstance(name, str) else ""
        message = where + error.message
        raise PlannerError(message, file=error.file, line=error.line, field=error.field) from None
