"""Host files of launchers (OpenMPI, DeepSpeed, torchrun's lists): one host a line, in the order of the ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from planner.documents.reading import read_text
from planner.errors import PlannerError
from planner.hardware.links import Links, numbered
from planner.solvers.placement.place import Placement


@dataclass(frozen=True)
class Hostfile:
    """A host file as read.

    Args:
        path: the file. heading: remarks before the first host. hosts: the lines of the hosts, whole.
    """

    path: Path
    heading: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """First word of each line."""
        return tuple(line.split()[0].split(":")[0] for line in self.hosts)


def read_hostfile(path: str | Path) -> Hostfile:
    """The hosts of a file; # starts a remark, empty lines count for nothing.

    Raises:
        PlannerError: it cannot be read, holds no host, or one host twice.
    """
    file = Path(path)
    heading: list[str] = []
    hosts: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(read_text(file, "a list of hosts").splitlines(), start=1):
        text = line.strip()
        if text.startswith("#"):
            if not hosts:
                heading.append(text)
            continue
        if not text:
            continue
        name = text.split()[0].split(":")[0]
        if name in seen:
            raise PlannerError(f"'{name}' stands here twice", file=file, line=number)
        seen.add(name)
        hosts.append(text)
    if not hosts:
        raise PlannerError("holds no host; one a line is accepted", file=file)
    return Hostfile(file, tuple(heading), tuple(hosts))


def named_by(links: Links, hostfile: Hostfile) -> Links:
    """The links with the names of the hosts: the same set of names, or the n-th host for the n-th node.

    Raises:
        PlannerError: the file does not have a host for each node of the matrix, or only some of their names.
    """
    if len(hostfile.hosts) != len(links):
        raise PlannerError(
            f"has {len(hostfile.hosts)} hosts, the matrix of links {len(links)} nodes", file=hostfile.path
        )
    hosts, nodes = set(hostfile.names), set(links.names)
    if hosts != nodes and hosts & nodes and links.names != numbered(len(links)):
        raise PlannerError(
            f"'{min(hosts - nodes)}' is no node of the matrix of links, other hosts are; all of them or none should be",
            file=hostfile.path,
        )
    return links if hosts == nodes else replace(links, names=hostfile.names)


def hosts_of(placement: Placement, hostfile: Hostfile | None) -> list[str]:
    """Lines of the new host file: the nodes in use, in the order of their ranks.

    Args:
        placement: on links that are ``named_by`` the file. hostfile: None for the names alone.
    """
    names = placement.names(placement.nodes)
    if hostfile is None:
        return names
    lines = dict(zip(hostfile.names, hostfile.hosts, strict=True))
    return [*hostfile.heading, *(lines[name] for name in names)]
