"""YAML files from a parser in C: the guarded tree of long lists (published measurements) and of the catalogue's own files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.documents.nodes import Node, expand
from planner.documents.reading import Document, read_text
from planner.documents.yaml_reader import read_yaml, tree
from planner.errors import PlannerError, suggest

MAX_BULK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Record:
    """One item of a file's list: plain data, and what names its place in messages."""

    path: Path
    node: Node

    @property
    def data(self) -> Any:
        return expand(self.node)[0]

    def document(self) -> Document:
        """The item as a document of its own, with the lines of the file."""
        data, lines = expand(self.node)
        return Document(self.path, data, lines)


def load_bulk(path: Path) -> Document:
    """A long or often read YAML file as a document, like ``load_document`` but from the parser in C.

    Raises:
        PlannerError: the file is missing, unreadable or no YAML.
    """
    data, lines = expand(_parsed(read_text(path, "a YAML file", limit_bytes=MAX_BULK_BYTES), path))
    return Document(path, data, lines)


def read_records(path: Path, key: str) -> Iterator[Record]:
    """The items of the list under a key of a YAML file, in order.

    Raises:
        PlannerError: the file is missing, unreadable, no YAML, or has no such list.
    """
    root = _parsed(read_text(path, "a YAML file", limit_bytes=MAX_BULK_BYTES), path)
    if root.pairs is None:
        raise PlannerError(f"holds no mapping; a list under '{key}' is accepted", file=path, line=root.line)
    if key not in root.pairs:
        near = suggest(key, root.pairs) if root.pairs else "it is empty"
        raise PlannerError(f"has no key '{key}'; {near}", file=path, line=root.line)
    line, items = root.pairs[key]
    if items.items is None:
        raise PlannerError("found no list; a list of mappings is accepted", file=path, line=line, field=key)
    for item in items.items:
        yield Record(path, item)


def _parsed(text: str, path: Path) -> Node:
    if not text.strip():
        raise PlannerError("is empty", file=path)
    try:
        return _fast(text)
    except PlannerError as error:
        raise PlannerError(error.message, file=path, line=error.line, field=error.field) from None


def _fast(text: str) -> Node:
    """libyaml's events are the same as ruamel.yaml's and come some twenty times faster."""
    try:
        import yaml  # type: ignore[import-untyped]
        from yaml import CSafeLoader as loader
    except ImportError:  # PyYAML may be built without libyaml
        return read_yaml(text)
    try:
        return tree(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem or error.context or "cannot be read").split())
        line = None if mark is None else mark.line + 1
        raise PlannerError(f"not valid YAML: {problem}", line=line) from None
    except yaml.YAMLError as error:
        raise PlannerError(f"not valid YAML: {' '.join(str(error).split())[:200]}") from None
