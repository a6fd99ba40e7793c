"""Load a file that a user wrote: guarded against everything that is not a reasonable document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.documents.json_reader import read_json
from planner.documents.nodes import expand
from planner.documents.yaml_reader import read_yaml
from planner.errors import PlannerError

MAX_FILE_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Document:
    """What a file holds.

    Args:
        path: the file, None for a value that was given in the program.
        data: plain dicts, lists and scalars.
        lines: 1-based line of every path in ``data``; for a key, the line of the key.
    """

    path: Path | None
    data: Any
    lines: Mapping[tuple[str | int, ...], int] = field(default_factory=dict)

    def line(self, at: tuple[str | int, ...]) -> int | None:
        """The line of a path, or of its nearest ancestor that the file holds."""
        for length in range(len(at), -1, -1):
            if at[:length] in self.lines:
                return self.lines[at[:length]]
        return None

    def at(self, path: tuple[str | int, ...]) -> Any:
        """The value at a path of keys and indices."""
        value = self.data
        for key in path:
            value = value[key]
        return value


def load_document(path: str | Path) -> Document:
    """The content of a YAML (1.2) or JSON file with the line of every value.

    Raises:
        PlannerError: missing, a directory, unreadable, too large, binary, empty, not YAML or JSON, duplicate
            keys, cyclic or multiplying aliases, tags, nested too deep.
    """
    file = Path(path)
    return load_text(read_text(file), file, json=file.suffix == ".json")


def load_text(text: str, path: Path | None = None, *, json: bool = False) -> Document:
    """As ``load_document`` for text that is already read; ``path`` only names it in messages."""
    if not text.strip():
        raise PlannerError("is empty", file=path)
    try:
        data, lines = expand(read_json(text) if json else read_yaml(text))
    except PlannerError as error:
        raise PlannerError(error.message, file=path, line=error.line, field=error.field) from None
    if data is None:
        raise PlannerError("is empty", file=path)
    return Document(path, data, lines)


def require_file(file: Path) -> None:
    """Refuse what is no file.

    Raises:
        PlannerError: missing, a directory, or no regular file.
    """
    if file.is_dir():
        raise PlannerError("is a directory; a file is accepted", file=file)
    if not file.exists():
        raise PlannerError("does not exist", file=file)
    if not file.is_file():
        raise PlannerError("is not a regular file", file=file)


def read_text(file: Path, accepted: str = "YAML or JSON text", *, limit_bytes: int = MAX_FILE_BYTES) -> str:
    """The text of a file that a user wrote.

    Args:
        accepted: what the file should hold, for messages.

    Raises:
        PlannerError: missing, a directory, unreadable, larger than ``limit_bytes``, binary or not UTF-8.
    """
    try:
        require_file(file)
        if file.stat().st_size > limit_bytes:
            raise PlannerError(f"is larger than {limit_bytes // 2**20} MiB", file=file)
        raw = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PlannerError(f"cannot be read: {reason}", file=file) from None
    if b"\x00" in raw:
        raise PlannerError(f"is a binary file; {accepted} is accepted", file=file)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlannerError("is not UTF-8 text", file=file, line=line) from None
