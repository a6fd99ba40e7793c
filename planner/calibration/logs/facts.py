"""What the lines around a table say: which benchmark ran, on which ranks, hosts and devices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from planner.costs.collectives import Collective

BINARIES: Mapping[str, Collective | None] = MappingProxyType(
    {
        "all_reduce": "all_reduce",
        "all_gather": "all_gather",
        "reduce_scatter": "reduce_scatter",
        "alltoall": "all_to_all",
        "sendrecv": "send_recv",
        "broadcast": "broadcast",
        "alltoallv": None,
        "reduce": None,
        "gather": None,
        "scatter": None,
        "hypercube": None,
    }
)
"""Programs of nccl-tests and rccl-tests (``<name>_perf``), and what the cost model calls them; None: it prices no such thing."""

_BINARY = re.compile(
    r"(?<![a-z])(" + "|".join(sorted(BINARIES, key=len, reverse=True)) + r")_perf(?:_mpi)?\b"
)
_BEGINS = re.compile(r"\bnThread\s+\d+\s+nGpus\s+\d+")
_DEVICES = re.compile(r"\bUsing devices\b")
_HEADING = re.compile(r"\bout-of-place\b|\bsize\s*(?:\(B\))?\s+count\b")
_RANK = re.compile(
    r"\bRank\s+(?P<rank>\d+)\s+(?:Group\s+(?P<group>\d+)\s+)?Pid\s+\d+\s+on\s+(?P<host>\S+)\s+device\s+(?P<index>\d+)"
    r"\s+\[[0-9a-fA-Fx:.]*\]\s*(?P<device>.*)$"
)
_COMMUNICATOR = re.compile(r"\brank\s+\d+\s+n[rR]anks\s+(?P<ranks>\d+)")
_LOCAL = re.compile(r"\bnNodes\s+(?P<nodes>\d+)\s+localRanks\s+(?P<local>\d+)")
_ENDS = re.compile(r"\b(?:Avg bus bandwidth|Collective test concluded)\b")
_EFA = re.compile(r"NET/(?:AWS Libfabric|OFI)\b.*|\bProvider is efa\b", re.IGNORECASE)

NOISE = re.compile(r"\b[NR]CCL (?:INFO|WARN|TRACE|DEBUG|VERSION)\b|\bNCCL version\b")
"""What the library itself prints between the lines of a table."""


@dataclass
class Facts:
    """What is known of the test at hand while its log is being read.

    Args:
        program: the binary's name without ``_perf``; None while no line named it.
        ranks: (group, rank) -> host and device, of the list of devices.
        most_on_host: one more than the largest number of a device on its host.
        repeated: a rank was listed twice: processes that do not know of each other.
        communicator: ranks, and ranks per node, that the library said it joined.
        over_efa: the library said that it uses Amazon's adapter.
    """

    program: str | None = None
    ranks: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    most_on_host: int = 1
    repeated: bool = False
    communicator: int | None = None
    local_ranks: int | None = None
    over_efa: bool = False

    def take(self, text: str) -> None:
        """Learn from one line that is no row."""
        if NOISE.search(text):
            self._take_library(text)
            return
        binary = _BINARY.search(text)
        if binary is not None:
            self.program = binary[1]
        rank = _RANK.search(text)
        if rank is not None:
            key = (int(rank["group"] or 0), int(rank["rank"]))
            self.repeated = self.repeated or key in self.ranks
            self.most_on_host = max(self.most_on_host, int(rank["index"]) + 1)
            self.ranks[key] = (rank["host"], rank["device"].strip().removesuffix("\\"))

    def _take_library(self, text: str) -> None:
        joined = _COMMUNICATOR.search(text)
        if joined is not None:
            self.communicator = int(joined["ranks"])
        local = _LOCAL.search(text)
        if local is not None:
            self.local_ranks = int(local["local"])
        self.over_efa = self.over_efa or _EFA.search(text) is not None

    @property
    def groups(self) -> int:
        """Groups that ran at the same time, at least one."""
        return max(len({group for group, _ in self.ranks}), 1)

    @property
    def listed_ranks(self) -> int | None:
        """Ranks of a group by the list of devices, of which the first or last lines may be missing."""
        found = [rank for group, rank in self.ranks if group == 0]
        return max(found) + 1 if found else None

    @property
    def listed_per_node(self) -> int | None:
        """Ranks on the fullest host; of a list that was cut, at least as many as its devices are numbered."""
        hosts = Counter(host for (group, _), (host, _) in self.ranks.items() if group == 0)
        if not hosts:
            return self.local_ranks
        fullest = max(hosts.values())
        return fullest if sum(hosts.values()) == self.listed_ranks else max(fullest, self.most_on_host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the hosts in order."""
        return tuple(dict.fromkeys(host for host, _ in self.ranks.values()))

    @property
    def device(self) -> str | None:
        """What the devices are called."""
        return next((device for _, device in self.ranks.values() if device), None)


def begins_test(text: str) -> bool:
    """Whether a line is the first of a new test."""
    return _BEGINS.search(text) is not None


def lists_devices(text: str) -> bool:
    """Whether a line stands above a list of devices."""
    return _DEVICES.search(text) is not None


def heads_table(text: str) -> bool:
    """Whether a line stands above the rows of a table."""
    return _HEADING.search(text) is not None


def names_program(text: str) -> bool:
    """Whether a line names the program that runs from here on."""
    return _BINARY.search(text) is not None and not ends_test(text) and not NOISE.search(text)


def ends_test(text: str) -> bool:
    """Whether a line stands below the rows of a table."""
    return _ENDS.search(text) is not None
