"""What joins the groups of a heterogeneous cluster: stated for all pairs or for single ones, else the slower outermost level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from planner.documents import Document, fault
from planner.errors import suggest
from planner.hardware.calibration import calibrated_level
from planner.hardware.calibration_files import Calibration
from planner.hardware.networks import build_level
from planner.hardware.schema import BetweenFile, GroupedFile, Level, LevelFigures
from planner.hardware.types import Cluster, GroupLink, NetworkLevel

BETWEEN = "between"
"""Name of the level that joins groups."""

Keys = tuple[str | int, ...]
Pair = tuple[int, int]


def with_own_name(part: Cluster, before: Sequence[Cluster]) -> Cluster:
    """The group, its name numbered when a group before it has the same."""
    taken = {cluster.name for cluster in before}
    name, number = part.name, 2
    while name in taken:
        name, number = f"{part.name}-{number}", number + 1
    return replace(part, name=name)


def group_links(
    file: GroupedFile,
    parts: Sequence[Cluster],
    document: Document,
    at: Keys,
    calibration: Calibration | None,
) -> tuple[GroupLink, ...]:
    """One link for every pair of groups.

    A pair has the entry of ``between`` that names it, else the one that names none, else the slower of both groups'
    outermost levels, by which their nodes reach each other.

    Raises:
        PlannerError: an unknown group, a pair stated twice, or a group of one node whose pair states nothing: links inside
            a node do not reach another group.
    """
    stated: dict[Pair | None, NetworkLevel] = {}
    size = sum(part.devices for part in parts)
    for index, entry in enumerate(file.between):
        here = _entry_path(document, at, index)
        pair = _pair(entry, parts, document, here)
        if pair in stated:
            what = "all other groups" if pair is None else " and ".join(entry.groups or ())
            raise fault(document, here, f"states the link between {what} twice")
        stated[pair] = _built(entry, size, document, here, file.sources, calibration)
    links = []
    for pair in combinations(range(len(parts)), 2):
        level = stated.get(pair, stated.get(None))
        found = _slower(parts[pair[0]], parts[pair[1]], size) if level is None else level
        if found is None:
            names = " and ".join(f"'{parts[place].name}'" for place in pair)
            raise fault(
                document,
                at,
                f"is missing: what joins {names}, of which one has no network between nodes; "
                "state it, for example between: {kind: infiniband-hdr}",
            )
        links.append(GroupLink(pair, found, stated=level is not None))
    return tuple(links)


def _entry_path(document: Document, at: Keys, index: int) -> Keys:
    """Path of an entry; a file may write a single one without a list."""
    parent = document.at(at[:-1])
    alone = isinstance(parent, Mapping) and isinstance(parent.get(at[-1]), Mapping)
    return at if alone else (*at, index)


def _pair(entry: BetweenFile, parts: Sequence[Cluster], document: Document, at: Keys) -> Pair | None:
    if entry.groups is None:
        return None
    names = [part.name for part in parts]
    for place, name in enumerate(entry.groups):
        if name not in names:
            raise fault(document, (*at, "groups", place), f"found '{name}'; {suggest(name, names)}")
    first, second = sorted(names.index(name) for name in entry.groups)
    if first == second:
        raise fault(document, (*at, "groups"), f"found '{entry.groups[0]}' twice; two groups are accepted")
    return first, second


def _built(
    entry: BetweenFile,
    size: int,
    document: Document,
    at: Keys,
    sources: Mapping[str, str],
    calibration: Calibration | None,
) -> NetworkLevel:
    figures = {name: getattr(entry, name) for name in LevelFigures.model_fields}
    level, _ = build_level(Level(name=BETWEEN, kind=entry.kind, **figures), size, document, at, dict(sources))
    return level if calibration is None else calibrated_level(level, calibration)[0]


def _slower(one: Cluster, other: Cluster, size: int) -> NetworkLevel | None:
    """The slower of both outermost levels as a link between the groups; None where one lies inside a node."""
    outer = [part.network[-1] for part in (one, other)]
    if any(level.size <= part.devices_per_node for level, part in zip(outer, (one, other), strict=True)):
        return None
    slower = min(outer, key=lambda level: (_rate(level), -level.latency_s))
    latency = max(level.latency_s for level in outer)
    return replace(
        slower,
        name=BETWEEN,
        size=size,
        latency_s=latency,
        fabric="switch",
        shape=None,
        in_network_reduction=False,
    )


def _rate(level: NetworkLevel) -> float:
    """Bytes/s that large transfers of one device reach."""
    return level.bandwidth * level.efficiency / level.oversubscription
