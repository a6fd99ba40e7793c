"""Where a job stands: a file of its own, a plan, or a mapping."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planner.documents import Document, fault
from planner.errors import PlannerError

DocumentPath = tuple[str | int, ...]


@dataclass(frozen=True)
class JobDocument:
    """A job's place: the document, where the job stands in it (a plan holds one under ``job``), and its folder."""

    document: Document
    at: DocumentPath
    base: Path | None
    name: str

    @property
    def is_plan(self) -> bool:
        return bool(self.at)

    def fault(self, path: DocumentPath, message: str) -> PlannerError:
        return fault(self.document, (*self.at, *path), message)
