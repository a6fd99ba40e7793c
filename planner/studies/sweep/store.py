"""Where the rows of a sweep are kept while it runs: parts that appear whole, and one table at the end.

Beside ``out.parquet`` stands the folder ``out.parquet.parts`` with numbered Parquet files. A part is written under another name
and renamed, so at any instant a file holds all of its rows or does not exist. At the end one table with each row once takes the
place of ``out.parquet`` in the same way, then the folder goes. A kill in between leaves rows in both, which the next start sees
by their keys. Rows that were not yet written are computed again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from planner.documents.writing import write_bytes
from planner.errors import PlannerError
from planner.studies.sweep.rows import Kind, Row
from planner.studies.sweep.table import each_once, read_table, table_bytes, to_table

if TYPE_CHECKING:
    import pyarrow as pa

MOST_PARTS = 64
"""Parts are joined into one when there are so many."""


@dataclass
class Store:
    """The table of one sweep on disk; only one process may hold it.

    Args:
        path: of the finished table, Parquet or CSV.
        kinds: its columns.
    """

    path: Path
    kinds: Mapping[str, Kind]
    _lock: int | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """Where parts stand while the sweep runs."""
        return parts_folder(self.path)

    def open(self, *, fresh: bool = False) -> None:
        """Take hold of the table.

        Args:
            fresh: remove what is there.

        Raises:
            PlannerError: another process writes it, its folder cannot be written, or what is there is no table of a sweep.
        """
        if fresh and self.path.exists():
            read_table(self.path)  # somebody's other file stays
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = _locked(self.folder / "lock")
        except OSError as error:
            raise PlannerError(f"cannot be written: {error.strerror}", file=self.path) from None
        for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        if fresh:
            self.path.unlink(missing_ok=True)
            for part in parts_of(self.path):
                part.unlink()

    def close(self) -> None:
        """Let go of the table; a folder without parts goes."""
        if self._lock is None:
            return
        if self.folder.is_dir() and not parts_of(self.path):
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def files(self) -> list[Path]:
        """Those that hold rows: the finished table first, then parts."""
        return files_of(self.path)

    def rows(self) -> pa.Table:
        """All rows so far; a key may occur twice, then the last one counts."""
        return _joined(self.files(), self.kinds)

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows as one part."""
        if not rows:
            return
        parts = parts_of(self.path)
        if len(parts) >= MOST_PARTS:
            self._write_part(_joined(parts, self.kinds), after=parts)
            for part in parts:
                part.unlink()
        self._write_part(to_table(rows, self.kinds), after=parts_of(self.path))

    def finish(self, order: Mapping[str, int]) -> pa.Table:
        """Put the table in place of its parts.

        Args:
            order: place of each key.

        Returns:
            The table: each key once.
        """
        table = each_once([self.rows()], order)
        write_bytes(self.path, table_bytes(table, self.path.suffix))
        for part in parts_of(self.path):
            part.unlink()
        return table

    def _write_part(self, table: pa.Table, after: Sequence[Path]) -> None:
        number = 1 + max((int(part.stem.removeprefix("part-")) for part in after), default=0)
        write_bytes(self.folder / f"part-{number:09d}.parquet", table_bytes(table, ".parquet"))


def parts_folder(path: Path) -> Path:
    """The folder of a table's parts."""
    return path.with_name(f"{path.name}.parts")


def parts_of(path: Path) -> list[Path]:
    """The parts of an unfinished table, oldest first."""
    return sorted(parts_folder(path).glob("part-*.parquet"))


def files_of(path: Path) -> list[Path]:
    """The table, if it was finished once, and the parts that came after it."""
    return [*([path] if path.exists() else []), *parts_of(path)]


def stored_table(path: Path) -> pa.Table:
    """The rows of a sweep's table, finished or not, each once.

    Raises:
        PlannerError: there is none.
    """
    files = files_of(path)
    if not files:
        raise PlannerError("does not exist", file=path)
    table = _joined(files, None)
    keys = table.column("key").to_pylist()
    return each_once([table], {key: place for place, key in enumerate(keys)})


def _joined(files: Sequence[Path], kinds: Mapping[str, Kind] | None) -> pa.Table:
    import pyarrow as pa

    tables = [read_table(file, kinds) for file in files]
    if not tables and kinds is not None:
        return to_table([], kinds)
    return pa.concat_tables(tables, promote_options="permissive")


def _locked(path: Path) -> int:
    """A lock that ends with the process, however it ends.

    Raises:
        PlannerError: another process has it.
    """
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise PlannerError("another sweep is writing this table", file=path.parent) from None
    return handle
