"""Reads the fields of one ``config.json``, with the defaults that transformers takes for that architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.documents import Document, fault
from planner.errors import PlannerError


@dataclass(frozen=True)
class Config:
    """A configuration file of one architecture.

    Args:
        document: the file.
        defaults: what transformers assumes for fields that the file leaves out.
        aliases: other spellings of a field that the architecture uses (canonical name -> written name).
        at: path of the text model inside the file (multimodal wrappers nest it).
    """

    document: Document
    defaults: Mapping[str, Any]
    aliases: Mapping[str, str]
    at: tuple[str, ...] = ()

    def get(self, name: str) -> Any:
        """The value of a field as the file writes it (null is None), else the architecture's default, else None."""
        data = self.document.at(self.at)
        for key in (self.aliases.get(name), name):
            if key is not None and key in data:
                return data[key]
        return self.defaults.get(name)

    def size(self, name: str) -> int:
        """A whole number >= 1 that must be known.

        Raises:
            PlannerError: absent without a default, or something else.
        """
        value = self.get(name)
        if value is None:
            raise self.fault(name, "is missing or null; the architecture needs a whole number >= 1")
        return self._positive(name, value)

    def count(self, name: str) -> int:
        """A whole number >= 0, absent or null meaning 0."""
        value = self.get(name)
        return 0 if value in (None, 0) else self._positive(name, value)

    def optional_size(self, name: str) -> int | None:
        """A whole number >= 1, or None when absent or null."""
        value = self.get(name)
        return None if value is None else self._positive(name, value)

    def number(self, name: str) -> float:
        """A number > 0 that need not be whole.

        Raises:
            PlannerError: absent without a default, or something else.
        """
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
            raise self.fault(name, f"found {value!r}; a number > 0 is accepted")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean; absent is false unless the architecture's default says otherwise."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.fault(name, f"found {value!r}; true or false is accepted")
        return bool(value)

    def names(self, name: str) -> tuple[str, ...]:
        """A list of words, empty when absent."""
        value = self.get(name)
        if value is None:
            return ()
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(isinstance(i, str) for i in value)
        ):
            raise self.fault(name, f"found {value!r}; a list of words is accepted")
        return tuple(value)

    def fault(self, name: str, message: str) -> PlannerError:
        """The error at a field of this file, by the spelling that the file uses."""
        alias = self.aliases.get(name, name)
        data = self.document.at(self.at)
        key = name if name in data else alias
        return fault(self.document, (*self.at, key), message)

    def _positive(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
            raise self.fault(name, f"found {value!r}; a whole number >= 1 is accepted")
        return int(value)
