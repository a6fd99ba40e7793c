"""A small tree of values with line numbers, and its guarded expansion to plain Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError

Path = tuple[str | int, ...]

MAX_NODES = 500_000
"""Values of one document after its aliases are expanded."""

MAX_DEPTH = 64
"""Nesting of mappings and lists: far above any real file, far below Python's recursion limit."""


@dataclass
class Node:
    """One value of a document.

    Args:
        line: 1-based.
        value: the scalar, when the node is one.
        items: children of a list.
        pairs: children of a mapping; the line beside each child is that of its key.
        size: number of values in the subtree, aliases expanded.
        depth: levels of nesting in the subtree.
    """

    line: int
    value: Any = None
    items: list[Node] | None = None
    pairs: dict[str, tuple[int, Node]] | None = None
    size: int = 1
    depth: int = 1

    def grow(self, child: Node) -> None:
        """Count a child in; the limits are checked here, before anything is expanded."""
        self.size += child.size
        self.depth = max(self.depth, child.depth + 1)
        if self.size > MAX_NODES:
            raise PlannerError(
                f"too many values once aliases are expanded (more than {MAX_NODES:,}); "
                "aliases may repeat values, not multiply them",
                line=child.line,
            )
        if self.depth > MAX_DEPTH:
            raise PlannerError(f"nested deeper than {MAX_DEPTH} levels", line=self.line)


def expand(root: Node) -> tuple[Any, dict[Path, int]]:
    """Plain values of the tree, and the line of every path in it."""
    lines: dict[Path, int] = {(): root.line}
    return _expand(root, (), lines), lines


def _expand(node: Node, path: Path, lines: dict[Path, int]) -> Any:
    if node.pairs is not None:
        mapping = {}
        for key, (line, child) in node.pairs.items():
            lines[(*path, key)] = line
            mapping[key] = _expand(child, (*path, key), lines)
        return mapping
    if node.items is not None:
        result = []
        for index, child in enumerate(node.items):
            lines[(*path, index)] = child.line
            result.append(_expand(child, (*path, index), lines))
        return result
    return node.value
