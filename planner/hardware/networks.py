"""Network levels: a kind of the catalogue, with what a cluster states anew."""

from __future__ import annotations

from typing import Any

from planner.documents import Document, fault, validate
from planner.documents.bulk import load_bulk
from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.evidence import evidence, value
from planner.hardware.schema import Figure, Level, LevelFigures, NetworkFile
from planner.hardware.types import Evidence, Fabric, NetworkLevel

LEVEL_FIGURES = (
    "bandwidth",
    "per_flow_bandwidth",
    "latency",
    "efficiency",
    "in_network_efficiency",
    "start",
    "message_start",
    "ramp",
    "in_network_ramp",
    "low_latency_share",
    "oversubscription",
)
"""The measurable figures of a network kind or level, in the order that tables show them."""

DEFAULT_EFFICIENCY = 0.8
"""Large transfers reach about 80 % of the wire rate (stas00/ml-engineering, network/README.md, rule of thumb)."""


def load_network_kind(name: str) -> NetworkFile:
    """One network kind of the catalogue.

    Raises:
        PlannerError: no such kind; the nearest one is suggested.
    """
    return validate(load_bulk(catalogue.find(catalogue.NETWORKS, name)), NetworkFile)


def build_level(
    level: Level, size: int, document: Document, at: tuple[str | int, ...], sources: dict[str, str]
) -> tuple[NetworkLevel, dict[str, Evidence]]:
    """A network level and the evidence of its figures.

    Args:
        level: as the cluster file states it.
        size: devices in one domain.
        document, at: where the level stands, for messages.
        sources: the cluster file's table of sources.

    Raises:
        PlannerError: unknown kind, or a figure that neither the level nor its kind states.
    """
    kind: LevelFigures = LevelFigures()
    origins: dict[str, Evidence] = {}
    if level.kind is not None:
        try:
            found = load_network_kind(level.kind)
        except PlannerError as error:
            raise fault(document, (*at, "kind"), error.message) from None
        kind = found
        origins = evidence(_figures(found), found.sources)
    origins |= evidence(_figures(level), sources)
    merged = {name: _first(getattr(level, name), getattr(kind, name)) for name in LevelFigures.model_fields}
    # A level that states its own bandwidth must not keep a per-flow figure of the kind that exceeds it.
    if level.bandwidth is not None and level.per_flow_bandwidth is None:
        merged["per_flow_bandwidth"] = _capped(merged["per_flow_bandwidth"], level.bandwidth)
    for name in ("bandwidth", "latency"):
        if value(merged[name]) is None:
            raise fault(document, (*at, name), "is missing; state it or name a 'kind' that does")
    return _level(level, size, merged), {
        f"network[{level.name}].{name}": origin for name, origin in origins.items()
    }


def _level(level: Level, size: int, merged: dict[str, Any]) -> NetworkLevel:
    fabric: Fabric = merged["fabric"] or ("torus" if level.shape else "switch")
    efficiency = value(merged["efficiency"])
    return NetworkLevel(
        name=level.name,
        size=size,
        bandwidth=merged["bandwidth"].value,
        latency_s=merged["latency"].value,
        fabric=fabric,
        per_flow_bandwidth=value(merged["per_flow_bandwidth"]),
        shape=None if level.shape is None else tuple(level.shape),
        wrap=True if merged["wrap"] is None else merged["wrap"],
        in_network_reduction=bool(merged["in_network_reduction"]),
        oversubscription=value(merged["oversubscription"]) or 1.0,
        efficiency=DEFAULT_EFFICIENCY if efficiency is None else efficiency,
        in_network_efficiency=value(merged["in_network_efficiency"]),
        start_s=value(merged["start"]),
        message_start_s=value(merged["message_start"]),
        ramp=value(merged["ramp"]) or 1.0,
        in_network_ramp=value(merged["in_network_ramp"]) or 1.0,
        low_latency_share=value(merged["low_latency_share"]),
        wrap_unit=merged["wrap_unit"] or 0,
        kind=level.kind,
    )


def _figures(stated: LevelFigures) -> list[tuple[str, Figure | None]]:
    return [(name, getattr(stated, name)) for name in LEVEL_FIGURES]


def _first(stated: Any, otherwise: Any) -> Any:
    return otherwise if stated is None else stated


def _capped(figure: Figure | None, bandwidth: Figure) -> Figure | None:
    if figure is None or figure.value is None or bandwidth.value is None or figure.value <= bandwidth.value:
        return figure
    return None
