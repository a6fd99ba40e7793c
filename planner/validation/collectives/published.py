"""The YAML format of published collective timings, and what each point measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from planner.costs.collectives import COLLECTIVES, busbw_factor
from planner.documents import Document, fault, validate
from planner.errors import suggest
from planner.validation.points import printed_half_width

MOE = ("moe_dispatch", "moe_combine")
"""All-to-alls of expert tokens, by libraries that count the bytes on the bottleneck instead of a bus bandwidth."""

ON_BOTTLENECK = ("bottleneck_GBps", "rdma_GBps")
RATES = ("algbw_GBps", "busbw_GBps", *ON_BOTTLENECK)
HEADLINES = ("low", "headline", "expectation")
"""Words in a source's ``quality`` by which it doubts its figures itself."""

Count = Annotated[int, Field(ge=1, le=10**15)]
Positive = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]


def _text(value: Any) -> Any:
    return "" if value is None else value if isinstance(value, str) else str(value)


Text = Annotated[str, BeforeValidator(_text)]


class Source(BaseModel):
    """One source: where it was read, by which tool it was measured, on what."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ref: Text = ""
    tool: Text = ""
    hw: Text = ""
    nodes: Count | None = None
    quality: Text = ""

    @property
    def doubt(self) -> str | None:
        """Why its points are scored apart, None where it stands by them."""
        found = [word for word in HEADLINES if word in self.quality.lower()]
        return f"quality: {found[0]}" if found else None


class Entry(BaseModel):
    """One point as the file writes it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Text
    source: Text
    collective: Text
    ranks: Count
    bytes: Count | None = None
    nodes: Count | None = None
    time_us: Positive | None = None
    algbw_GBps: Positive | None = None
    busbw_GBps: Positive | None = None
    bottleneck_GBps: Positive | None = None
    rdma_GBps: Positive | None = None
    bottleneck: Text = ""
    algorithm: Text = ""
    arch: Text = ""
    hw: Text = ""

    @property
    def measured(self) -> str:
        """The figure that counts: the time, else the first rate; empty where there is none."""
        known = [name for name in ("time_us", *RATES) if getattr(self, name) is not None]
        return known[0] if known else ""


@dataclass(frozen=True)
class PublishedPoint:
    """One point of a file.

    Args:
        entry, source: as written.
        half_width: half of the last printed digit of the figure that counts, in its unit.
    """

    entry: Entry
    source: Source
    half_width: float

    @property
    def relative_half_width(self) -> float:
        """Half of the last digit over the figure."""
        return self.half_width / float(getattr(self.entry, self.entry.measured))

    def seconds(self, nbytes: float) -> float:
        """The time of a call of so many bytes that the figure says; a rate on the bottleneck is handled where it is priced."""
        entry = self.entry
        if entry.measured == "time_us":
            return float(entry.time_us or 0.0) * 1e-6
        if entry.measured == "algbw_GBps":
            return nbytes / (float(entry.algbw_GBps or 0.0) * 1e9)
        factor = float(busbw_factor(_counted_as(entry.collective), entry.ranks))
        return factor * nbytes / (float(entry.busbw_GBps or 0.0) * 1e9)


def _counted_as(collective: str) -> Any:
    return "all_to_all" if collective in MOE else collective


def is_published(text: str) -> bool:
    """Whether a YAML text has the shape of this format, without parsing it."""
    return any(line.startswith("points:") for line in text.splitlines())


def published_points(document: Document) -> list[PublishedPoint]:
    """The points of a file.

    Raises:
        PlannerError: no sources or points, an unknown source or collective, no figure, a figure that is not positive.
    """
    sources = _sources(document)
    points = document.data.get("points")
    if not isinstance(points, list) or not points:
        raise fault(document, ("points",), "a list of points is accepted")
    entries = [_entry(document, index, sources) for index in range(len(points))]
    widths = _half_widths(entries)
    return [
        PublishedPoint(entry, sources[entry.source], widths[entry.source, entry.measured])
        for entry in entries
    ]


def _sources(document: Document) -> Mapping[str, Source]:
    if not isinstance(document.data, Mapping) or not isinstance(document.data.get("sources"), Mapping):
        raise fault(document, ("sources",), "a mapping of 'sources' and a list of 'points' are accepted")
    return {str(name): validate(document, Source, ("sources", name)) for name in document.data["sources"]}


def _entry(document: Document, index: int, sources: Mapping[str, Source]) -> Entry:
    at = ("points", index)
    entry = validate(document, Entry, at)
    if entry.source not in sources:
        raise fault(
            document,
            (*at, "source"),
            f"unknown source '{entry.source[:60]}': {suggest(entry.source, sources)}",
        )
    names = (*COLLECTIVES, *MOE)
    if entry.collective not in names:
        raise fault(
            document,
            (*at, "collective"),
            f"unknown collective '{entry.collective[:60]}': {suggest(entry.collective[:60], names)}",
        )
    if not entry.measured:
        raise fault(document, at, f"states no figure; time_us, {', '.join(RATES)} are accepted")
    if entry.measured == "time_us" and entry.bytes is None:
        raise fault(document, (*at, "bytes"), "is missing; a time needs the size of its call")
    return entry


def _half_widths(entries: Iterable[Entry]) -> dict[tuple[str, str], float]:
    """By source and kind of figure: half of the last digit of that column."""
    columns: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        columns.setdefault((entry.source, entry.measured), []).append(float(getattr(entry, entry.measured)))
    return {key: printed_half_width(values) for key, values in columns.items()}
