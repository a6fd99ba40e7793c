"""What counts as one measurement: rows scored apart, and rows that share a vote (``exclusions.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import load_document, validate
from planner.validation.runs.rows import RunRow

Section = TypeVar("Section", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


CorrectedField = Literal[
    "hardware.network.gbps_per_node",
    "hardware.network.kind",
    "layout.attention",
    "layout.compile",
    "layout.grad_dtype",
    "layout.launch_blocking",
    "layout.recompute",
    "layout.recompute_modules",
    "layout.shard_runtime",
    "model.embedding_norm",
    "model.padded_vocab",
    "model.position",
    "model.vocab",
]


class Composed(_Frozen):
    """Rows of one source whose times were composed from fewer measured pieces.

    Args:
        source: what the rows' ``source`` starts with.
        family: name under which they are scored.
        cell: fields whose equal values make one vote.
    """

    source: Annotated[str, Field(min_length=1)]
    family: Annotated[str, Field(min_length=1)]
    cell: Annotated[tuple[str, ...], Field(min_length=1)]
    reason: Annotated[str, Field(min_length=10)]


class Exclusion(_Frozen):
    """One row that is predicted and scored apart."""

    id: Annotated[str, Field(min_length=1)]
    what: Literal["time", "memory", "all"]
    reason: Annotated[str, Field(min_length=10)]


class OrderNote(_Frozen):
    """Why measured times decide sets of layouts that no model of the layout can order.

    Args:
        ids: of rows; cells: of composed rows, values of the fields that make one vote.
    """

    ids: tuple[str, ...] = ()
    cells: tuple[tuple[Any, ...], ...] = ()
    reason: Annotated[str, Field(min_length=10)]


class Correction(_Frozen):
    """What the rows of a source take for granted and the source contradicts.

    Args:
        source: what the rows' ``source`` starts with.
        values: field of the row -> what the source implies.
        least_devices: of the rows that it is about.
        notes: texts of which the notes of the rows contain one; none: whatever their notes say.
        except_notes: what the notes of rows contain that it is not about.
    """

    source: Annotated[str, Field(min_length=1)]
    values: Mapping[CorrectedField, bool | int | float | str | tuple[str, ...]]
    least_devices: int = 1
    notes: tuple[str, ...] = ()
    except_notes: str | None = None
    reason: Annotated[str, Field(min_length=10)]

    def concerns(self, row: RunRow) -> bool:
        """Whether it is about a row."""
        notes = row.notes or ""
        spared = self.except_notes is not None and self.except_notes in notes
        meant = not self.notes or any(text in notes for text in self.notes)
        large = (row.hardware.count or 1) >= self.least_devices
        return large and meant and not spared and (row.source or "").startswith(self.source)


class MemoryPlace(_Frozen):
    """Rows whose single memory figure was not read on the fullest device.

    Args:
        source: what the rows' ``source`` starts with.
        rank: pipeline rank of the device that was read.
    """

    source: Annotated[str, Field(min_length=1)]
    rank: Annotated[int, Field(ge=0)]
    reason: Annotated[str, Field(min_length=10)]


class Votes(_Frozen):
    """The content of ``exclusions.yaml``."""

    corrections: tuple[Correction, ...] = ()
    memory_places: tuple[MemoryPlace, ...] = ()
    composed: tuple[Composed, ...]
    exclusions: tuple[Exclusion, ...]
    order: tuple[OrderNote, ...] = ()

    def memory_rank(self, row: RunRow) -> int | None:
        """Pipeline rank on which the row's single memory figure was read, None for the fullest."""
        source = row.source or ""
        return next((place.rank for place in self.memory_places if source.startswith(place.source)), None)

    def doubt(self, row: RunRow, what: Literal["time", "memory"]) -> str | None:
        """Why the row's time (or memory) is scored apart, None when it is not."""
        for item in self.exclusions:
            if item.id == row.id and item.what in (what, "all"):
                return item.reason
        return row.quirk if what == "time" else None

    def corrected(self, row: RunRow) -> RunRow:
        """The row with what its source contradicts put right."""
        for item in self.corrections:
            if item.concerns(row):
                for path, value in item.values.items():
                    row = _with(row, path.split("."), value)
        return row

    def family(self, row: RunRow) -> str:
        """The family under which a row is scored."""
        found = self._composed(row)
        return row.family if found is None else found.family

    def cell(self, row: RunRow) -> tuple[Any, ...] | None:
        """Equal for rows that share one vote, None for a row with a vote of its own."""
        found = self._composed(row)
        return None if found is None else tuple(_value(row, path) for path in found.cell)

    def order_note(self, row: RunRow) -> str | None:
        """Why the row's measured time decides sets that a model cannot order, None without a reason."""
        cell = self.cell(row)
        for note in self.order:
            if row.id in note.ids or (cell is not None and cell in note.cells):
                return note.reason
        return None

    def _composed(self, row: RunRow) -> Composed | None:
        return next((c for c in self.composed if (row.source or "").startswith(c.source)), None)


def load_votes() -> Votes:
    """The packaged list."""
    with resources.as_file(resources.files("planner.validation.runs") / "exclusions.yaml") as path:
        return validate(load_document(path), Votes)


def _with(section: Section, path: Sequence[str], value: object) -> Section:
    """A copy of a section of a row in which the field at the end of a path has another value."""
    name, *rest = path
    changed = _with(getattr(section, name), rest, value) if rest else value
    return section.model_copy(update={name: changed})


def _value(row: RunRow, path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
    return value
