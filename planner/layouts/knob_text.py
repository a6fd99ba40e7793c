"""Reads ``tp=8,pp=4,shard={parameters: 8}`` into plain data."""

from __future__ import annotations

import re
from typing import Any

from planner.errors import PlannerError

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_WORDS: dict[str, Any] = {
    "true": True,
    "on": True,
    "yes": True,
    "false": False,
    "off": False,
    "no": False,
    "null": None,
    "~": None,
}
_CLOSING = {"[": "]", "{": "}"}
_DEEPEST = 4


def parse_knob_text(text: str) -> dict[str, Any]:
    """Plain data of ``knob=value,...``; dotted knobs nest (``offload.optimizer=host``).

    Values are integers, numbers, true/false, names, ``[a, b]`` or ``{key: value}``.

    Raises:
        PlannerError: not of that form, or a knob given twice.
    """
    knobs: dict[str, Any] = {}
    for part in split_top(text, text):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise PlannerError(
                f"'{part.strip()}' is not of the form knob=value, as in tp=8,pp=4", field="layout"
            )
        target = knobs
        *path, last = name.split(".")
        for key in path:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise PlannerError(f"'{key}' is given both as a value and as a group", field=f"layout.{name}")
        if last in target:
            raise PlannerError(f"'{name}' is given twice", field=f"layout.{name}")
        target[last] = _value(value.strip(), text, 0)
    return knobs


def split_top(text: str, whole: str) -> list[str]:
    """Parts between commas that are outside brackets."""
    parts, closers, start = [], [], 0
    for position, letter in enumerate(text):
        if letter in _CLOSING:
            closers.append(_CLOSING[letter])
        elif letter in "]}":
            if not closers or closers.pop() != letter:
                raise PlannerError(f"unbalanced '{letter}' in '{whole}'", field="layout")
        elif letter == "," and not closers:
            parts.append(text[start:position])
            start = position + 1
    if closers:
        raise PlannerError(f"missing '{closers[-1]}' in '{whole}'", field="layout")
    parts.append(text[start:])
    return [part for part in parts if part.strip()] if len(parts) > 1 or text.strip() else []


def _value(text: str, whole: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise PlannerError(f"brackets nest too deeply in '{whole[:80]}'", field="layout")
    if text.startswith("["):
        return [_value(part.strip(), whole, depth + 1) for part in split_top(text[1:-1], whole)]
    if text.startswith("{"):
        result = {}
        for part in split_top(text[1:-1], whole):
            key, colon, value = part.partition(":")
            if not colon:
                raise PlannerError(f"'{part.strip()}' is not of the form key: value", field="layout")
            result[key.strip()] = _value(value.strip(), whole, depth + 1)
        return result
    return parse_scalar(text)


def parse_scalar(text: str) -> Any:
    """Integer, number, true/false/null, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text.strip("'\"")
