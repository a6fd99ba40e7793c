"""YAML 1.2 text to a tree of nodes with lines.

The tree is built from ruamel.yaml's parser events instead of its constructor: events are produced without
recursion, carry line numbers, and no tag can ever create an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from planner.documents.nodes import MAX_DEPTH, Node
from planner.errors import PlannerError

# The YAML 1.2 core schema, section 10.3.2 of the specification: 1e9, without a dot, is a float too.
_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_TRUE, _FALSE = re.compile(r"(?:true|True|TRUE)"), re.compile(r"(?:false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_OCTAL, _HEX = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF, _NAN = re.compile(r"([-+]?)\.(?:inf|Inf|INF)"), re.compile(r"\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 400
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
)


def read_yaml(text: str) -> Node:
    """The tree of one YAML document.

    Raises:
        PlannerError: with the line: not YAML, several documents, tags, duplicate keys, cycles, limits.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return tree(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem or error.context or "cannot be read").split())
        raise PlannerError(
            f"not valid YAML: {problem}", line=None if mark is None else mark.line + 1
        ) from None
    except (YAMLError, ValueError) as error:
        raise PlannerError(f"not valid YAML: {' '.join(str(error).split())[:200]}") from None


def tree(events: Iterator[Any]) -> Node:
    """The tree of one YAML document from the events of a parser (ruamel.yaml's or PyYAML's).

    Raises:
        PlannerError: with the line: several documents, tags, duplicate keys, cycles, limits.
    """
    return _Builder(events).document()


class _Builder:
    """Consumes events; ``_open`` holds anchors of unfinished values: it tells a cycle from a repeat."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            name = type(event).__name__
            if name in (
                "StreamStartEvent",
                "DocumentStartEvent",
                "DocumentEndEvent",
                "StreamEndEvent",
                "CommentEvent",
            ):
                continue
            if root is not None:
                raise PlannerError("holds more than one YAML document; one is accepted", line=_line(event))
            root = self._node(event, 1)
        if root is None:
            raise PlannerError("is empty")
        return root

    def _node(self, event: Any, depth: int) -> Node:
        kind, line = type(event).__name__, _line(event)
        if depth > MAX_DEPTH:
            raise PlannerError(f"nested deeper than {MAX_DEPTH} levels", line=line)
        if kind == "AliasEvent":
            return self._alias(event.anchor, line)
        tag = str(event.tag) if event.tag is not None else ""
        if tag not in _PLAIN_TAGS and tag not in ("", "None", "!"):
            raise PlannerError(f"found the tag '{tag[:60]}'; tags are not accepted here", line=line)
        anchor = event.anchor
        if anchor:
            self._open.add(anchor)
            self._anchors.pop(anchor, None)
        if kind == "ScalarEvent":
            node = Node(line, scalar(event.value, line) if _is_plain(event, tag) else event.value)
        elif kind == "SequenceStartEvent":
            node = self._sequence(line, depth)
        else:
            node = self._mapping(line, depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor in self._open:
            raise PlannerError(
                f"the alias '*{anchor}' contains itself; cyclic values are not accepted", line=line
            )
        if anchor not in self._anchors:
            raise PlannerError(f"the alias '*{anchor}' has no anchor", line=line)
        return self._anchors[anchor]

    def _sequence(self, line: int, depth: int) -> Node:
        node = Node(line, items=[])
        assert node.items is not None
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            child = self._node(event, depth + 1)
            node.grow(child)
            node.items.append(child)
        return node

    def _mapping(self, line: int, depth: int) -> Node:
        pairs: dict[str, tuple[int, Node]] = {}
        node = Node(line, pairs=pairs)
        merges: list[tuple[int, Node]] = []
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key_line = _line(event)
            if type(event).__name__ != "ScalarEvent":
                raise PlannerError(
                    "found a key that is a list or a mapping; keys are plain words", line=key_line
                )
            key = str(event.value)
            child = self._node(next(self._events), depth + 1)
            if key == "<<" and not event.style:
                merges.append((key_line, child))
                continue
            if key in pairs:
                raise PlannerError(
                    f"found the key '{key}' twice, first on line {pairs[key][0]}", line=key_line, field=key
                )
            node.grow(child)
            pairs[key] = (key_line, child)
        for key_line, source in merges:
            _merge(node, source, key_line)
        return node


def _merge(node: Node, source: Node, line: int) -> None:
    """The merge key ``<<``: keys that the mapping lacks are taken from another one, the first source wins."""
    assert node.pairs is not None
    for mapping in source.items if source.items is not None else [source]:
        if mapping.pairs is None:
            raise PlannerError("'<<' merges mappings; found something else", line=line)
        for key, (key_line, child) in mapping.pairs.items():
            if key not in node.pairs:
                node.grow(child)
                node.pairs[key] = (key_line, child)


def scalar(text: str, line: int) -> Any:
    """The value of a plain (unquoted) scalar by the core schema.

    Raises:
        PlannerError: a number with absurdly many digits.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if len(text) > _MAX_DIGITS and _FLOAT.fullmatch(text):
        raise PlannerError(f"found a number with more than {_MAX_DIGITS} digits", line=line)
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    if match := _INF.fullmatch(text):
        return float(match[1] + "inf")
    return float("nan") if _NAN.fullmatch(text) else text


def _is_plain(event: Any, tag: str) -> bool:
    return not event.style and tag in ("", "None")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
