"""JSON text to a tree of nodes with lines.

A small scanner instead of the standard library's parser, which knows no line of a value and overflows the
stack on deep nesting.
"""

from __future__ import annotations

import json
import re
from typing import Any

from planner.documents.nodes import MAX_DEPTH, Node
from planner.errors import PlannerError

_TOKEN = re.compile(
    r'[ \t\r\n]*(?:(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<mark>[{}\[\],:])|(?P<word>[^\s{}\[\],:"]+))'
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?")
_WORDS = {"null": None, "true": True, "false": False}
_MAX_DIGITS = 400


def read_json(text: str) -> Node:
    """The tree of a JSON document.

    Raises:
        PlannerError: with the line: not JSON, duplicate keys, limits exceeded.
    """
    reader = _Reader(text)
    root = reader.value(1)
    if reader.kind != "end":
        raise reader.fault("text after the end of the value")
    return root


class _Reader:
    """Reads one token ahead; ``kind`` is ``string``, ``word``, ``end`` or the punctuation mark itself."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.line = 1
        self.kind = ""
        self.token = ""
        self.advance()

    def fault(self, problem: str) -> PlannerError:
        return PlannerError(f"not valid JSON: {problem}", line=self.line)

    def advance(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            self.line += self._text.count("\n", self._position, self._next_visible())
            if self._text[self._position :].strip():
                raise self.fault("found a string that does not end on its line, or a stray character")
            self.kind, self.token = "end", ""
            return
        name = str(match.lastgroup)
        self.line += self._text.count("\n", self._position, match.start(name))
        self.token = match[name]
        self.kind = self.token if name == "mark" else name
        self._position = match.end()

    def _next_visible(self) -> int:
        return len(self._text) - len(self._text[self._position :].lstrip())

    def value(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise PlannerError(f"nested deeper than {MAX_DEPTH} levels", line=self.line)
        line, kind, token = self.line, self.kind, self.token
        if kind == "{":
            return self._mapping(Node(line, pairs={}), depth)
        if kind == "[":
            return self._sequence(Node(line, items=[]), depth)
        if kind == "string":
            result: Any = self._string(token)
        elif kind == "word":
            result = self._word(token)
        else:
            raise self._misplaced("a value")
        self.advance()
        return Node(line, result)

    def _mapping(self, node: Node, depth: int) -> Node:
        assert node.pairs is not None
        self.advance()
        while self.kind != "}":
            if self.kind != "string":
                raise (
                    self._misplaced("a key")
                    if self.kind == "end"
                    else self.fault('keys are written in "quotes"')
                )
            key, line = self._string(self.token), self.line
            if key in node.pairs:
                raise PlannerError(
                    f"found the key '{key}' twice, first on line {node.pairs[key][0]}", line=line, field=key
                )
            self.advance()
            self._expect(":")
            child = self.value(depth + 1)
            node.grow(child)
            node.pairs[key] = (line, child)
            self._separator("}")
        self.advance()
        return node

    def _sequence(self, node: Node, depth: int) -> Node:
        assert node.items is not None
        self.advance()
        while self.kind != "]":
            child = self.value(depth + 1)
            node.grow(child)
            node.items.append(child)
            self._separator("]")
        self.advance()
        return node

    def _expect(self, mark: str) -> None:
        if self.kind != mark:
            raise self._misplaced(f"'{mark}'")
        self.advance()

    def _misplaced(self, wanted: str) -> PlannerError:
        if self.kind == "end":
            return self.fault(f"the text ends too early: {wanted} belongs there")
        return self.fault(f"found '{self.token}' where {wanted} belongs")

    def _separator(self, end: str) -> None:
        if self.kind == end:
            return
        self._expect(",")
        if self.kind == end:
            raise self.fault("a comma stands before the end of a list or mapping")

    def _string(self, token: str) -> str:
        try:
            return str(json.loads(token))
        except ValueError:
            raise self.fault("a string holds a wrong escape") from None

    def _word(self, token: str) -> Any:
        if token in _WORDS:
            return _WORDS[token]
        match = _NUMBER.fullmatch(token) if len(token) <= _MAX_DIGITS else None
        if match is None:
            raise self.fault(f"found '{token[:40]}', which is neither a number nor true, false, null")
        return float(token) if match["fraction"] or match["exponent"] else int(token)
