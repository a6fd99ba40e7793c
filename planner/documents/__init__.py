"""Files that users write (YAML, JSON), guarded and with line numbers; files that the planner writes."""

from __future__ import annotations

from planner.documents.reading import Document, load_document, load_text
from planner.documents.validation import fault, validate
from planner.documents.writing import write_text, write_yaml

__all__ = ["Document", "fault", "load_document", "load_text", "validate", "write_text", "write_yaml"]
