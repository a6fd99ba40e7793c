"""Rows of a sweep as a table in memory, in Parquet and in CSV."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.studies.sweep.rows import COLUMNS, Kind, Row

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv")
FIRST_RESULT = "status"
"""Column that ends the swept fields."""


def check_suffix(path: Path) -> None:
    """Refuse a file whose ending names no format.

    Raises:
        PlannerError: neither Parquet nor CSV.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PlannerError(f"found the ending '{path.suffix}'; accepted: {', '.join(SUFFIXES)}", file=path)


def to_table(rows: Sequence[Row], kinds: Mapping[str, Kind]) -> pa.Table:
    """The rows as columns; what a row does not say is null.

    Args:
        kinds: all columns in order.
    """
    import pyarrow as pa

    columns = {name: _cells(rows, name, kind) for name, kind in kinds.items()}
    return pa.table(columns, schema=_schema(kinds))


def read_table(path: Path, kinds: Mapping[str, Kind] | None = None) -> pa.Table:
    """The table of a file.

    Args:
        kinds: its columns are brought to these; None: as the file has them.

    Raises:
        PlannerError: no such file, or no table of a sweep.
    """
    import pyarrow as pa

    check_suffix(path)
    try:
        table = _read_csv(path, kinds) if path.suffix.lower() == ".csv" else _read_parquet(path)
        if FIRST_RESULT not in table.column_names or "key" not in table.column_names:
            raise PlannerError("is no table of a sweep", file=path)
        if kinds is None:
            return table
        return table.select(list(kinds)).cast(_schema(kinds))
    except (OSError, KeyError, pa.ArrowException) as error:
        words = " ".join(str(error).split())[:200]
        raise PlannerError(f"cannot be read as the table of a sweep: {words}", file=path) from None


def table_bytes(table: pa.Table, suffix: str) -> bytes:
    """The content of a file with that ending."""
    import pyarrow.csv
    import pyarrow.parquet

    stream = io.BytesIO()
    if suffix.lower() == ".csv":
        pyarrow.csv.write_csv(table, stream)
    else:
        pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


def swept_fields(table: pa.Table) -> list[str]:
    """The columns of the swept fields."""
    names: list[str] = table.column_names
    return names[: names.index(FIRST_RESULT)]


def each_once(tables: Sequence[pa.Table], order: Mapping[str, int]) -> pa.Table:
    """One table with each key once, of several the last, in the given order.

    Args:
        order: place of each key; rows with other keys are left out.
    """
    import pyarrow as pa

    whole = pa.concat_tables(tables)
    last = {key: row for row, key in enumerate(whole.column("key").to_pylist()) if key in order}
    return whole.take(pa.array(sorted(last.values(), key=_place(whole, order)), type=pa.int64()))


def _place(table: pa.Table, order: Mapping[str, int]) -> Any:
    keys = table.column("key").to_pylist()
    return lambda row: order[keys[row]]


def _cells(rows: Sequence[Row], name: str, kind: Kind) -> list[Any]:
    cells = [row.get(name) for row in rows]
    if kind != "text":
        return cells
    return [cell if cell is None else str(cell) for cell in cells]


def _schema(kinds: Mapping[str, Kind]) -> pa.Schema:
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
    return pa.schema([(name, types[kind]) for name, kind in kinds.items()])


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).read()


def _read_csv(path: Path, kinds: Mapping[str, Kind] | None) -> pa.Table:
    import pyarrow.csv

    options = pyarrow.csv.ConvertOptions(
        column_types=_schema(kinds or COLUMNS),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pyarrow.csv.read_csv(path, convert_options=options)
