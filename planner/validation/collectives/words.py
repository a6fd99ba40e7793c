"""Hardware as sources describe it in words, to a machine.

Sources write such lines as "2 nodes x 8 A100-80GB SXM, 4x HDR 200 Gb/s per node" or "4x AWS p5en (8x H200, EFA 400 GB/s
per node)". What they leave out is taken from the reference node of the accelerator and said.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from planner.errors import PlannerError
from planner.hardware.loader import load_network_kind
from planner.validation.collectives.machines import Instance, Machine, Machines, SourceNote
from planner.validation.devices import accelerator_in

MOST_DEVICES_IN_A_NODE = 64

SEVERAL_CARDS = 3.5
"""Times one card's rate from which a rate without further words is that of a whole node."""

_RATE = re.compile(r"(?:(\d+)\s*x\s*[^\d]*?)?(\d+(?:\.\d+)?)\s*(Gb/s|Gbps|Gbit/s|GB/s)")
_CARDS = re.compile(r"(?<![\w-])(\d+)\s*x?\s")
_DEVICES = re.compile(r"(\d+)\s*x?\s+(?:(?:ascend|nvidia|amd|intel|habana)\s+)?([a-z0-9][a-z0-9-]*)")


@dataclass(frozen=True)
class Cards:
    """What leaves a node.

    Args:
        kind: network kind of the catalogue.
        node_rate, device_rate: bytes/s of all cards of a node or of one device's; None for the rate of the kind.
        assumed: the words leave the kind open.
    """

    kind: str
    node_rate: float | None = None
    device_rate: float | None = None
    assumed: bool = False


def machine_in(
    words: str, ranks: int, nodes: int | None, machines: Machines, note: SourceNote | None = None
) -> Machine:
    """The machine that a description names.

    Args:
        words: the description.
        ranks: of the group.
        nodes: that the ranks lie on, when the source states it.
        note: what is known beyond the words.

    Raises:
        PlannerError: the words name no known accelerator, or nodes that do not fit the ranks.
    """
    instance = _instance(words, machines)
    known = (
        note.accelerator if note else None,
        accelerator_in(words),
        instance.accelerator if instance else None,
    )
    accelerator = next((name for name in known if name is not None), None)
    if accelerator is None:
        raise PlannerError("the hardware words name no known accelerator")
    node = machines.reference(accelerator)
    devices = (note and note.devices) or _devices(words) or node.devices
    count = nodes or _nodes(words) or -(-ranks // devices)
    if ranks % count or ranks // count > max(devices, node.devices):
        raise PlannerError(f"{ranks} ranks do not fit on {count} nodes of {devices}")
    node = node.model_copy(update={"devices": devices}) if devices > node.devices else node
    cards = (
        Cards(note.outside) if note and note.outside else _cards(words, devices, count, instance, machines)
    )
    devices = max(devices, ranks // count) if nodes or _nodes(words) else devices
    plain = Machine(accelerator, node, count, ranks // count)
    return _with_cards(plain, cards, devices) if plain.leaves_domain else plain


def _with_cards(machine: Machine, cards: Cards | None, devices: int) -> Machine:
    if cards is None:
        return replace(machine, assumed=f"network not stated: {machine.node.outside}")
    rate = cards.device_rate if cards.node_rate is None else cards.node_rate / devices
    return replace(
        machine,
        node=machine.node.model_copy(update={"outside": cards.kind}),
        card_rate=rate,
        assumed=f"card not stated: {cards.kind}" if cards.assumed else None,
    )


def _instance(words: str, machines: Machines) -> Instance | None:
    for name in sorted(machines.instances, key=len, reverse=True):
        if re.search(rf"(?<![a-z0-9-]){re.escape(name)}(?![a-z0-9-])", words.lower()):
            return machines.instances[name]
    return None


def _nodes(words: str) -> int | None:
    found = re.search(r"(\d+)\s*(?:nodes?|servers?)\b", words, re.IGNORECASE)
    return int(found.group(1)) if found and int(found.group(1)) > 0 else None


def _devices(words: str) -> int | None:
    """Devices per node, from "8x H100", "3 nodes x 8 A100" or "8 per node"; a count of racks is none."""
    plain = words.lower()
    for found in _DEVICES.finditer(plain):
        if accelerator_in(found.group(2)) and "rack" not in plain[found.end() : found.end() + 14]:
            return _sensible(int(found.group(1)))
    each = re.search(r"(\d+) per node", plain)
    return _sensible(int(each.group(1))) if each else None


def _sensible(devices: int) -> int | None:
    return devices if 1 <= devices <= MOST_DEVICES_IN_A_NODE else None


def _cards(
    words: str, devices: int, nodes: int, instance: Instance | None, machines: Machines
) -> Cards | None:
    """The cards of the first clause that names a network, else those of the rented machine."""
    for clause in re.split(r"[,;()+]|\band\b", words):
        for name, kind in machines.networks.items():
            if re.search(rf"(?<![a-z0-9]){re.escape(name)}", clause.lower()):
                chosen = instance.outside if instance is not None and name == "efa" else kind
                return _rated(clause, _adding(chosen, words), devices, nodes)
    if instance is not None:
        return Cards(instance.outside)
    if "infiniband" in words.lower():
        return Cards(_adding("infiniband-ndr", words), assumed=True)
    return None


def _adding(kind: str, words: str) -> str:
    """The kind whose switches add, where the words say that they do."""
    return f"{kind}-sharp" if kind == "infiniband-ndr" and "sharp" in words.lower() else kind


def _rated(clause: str, kind: str, devices: int, nodes: int) -> Cards:
    """The rate in a clause that names cards: "4x HDR 200 Gb/s per node", "one CX7 400 Gb/s per GPU", "16 CX7 NDR NICs"."""
    rate = _RATE.search(clause)
    if rate is None:
        return _counted(clause, kind, devices, nodes)
    value = float(rate.group(2)) * (1e9 if rate.group(3) == "GB/s" else 1e9 / 8)
    if rate.group(1) is not None:
        return Cards(kind, node_rate=int(rate.group(1)) * value)
    if "per node" in clause or value >= SEVERAL_CARDS * _rate_of(kind):
        return Cards(kind, node_rate=value)
    return Cards(kind, device_rate=value)


def _counted(clause: str, kind: str, devices: int, nodes: int) -> Cards:
    """Cards that are counted and not rated have the rate of their kind; more than one per device counts all nodes."""
    number, rate = _CARDS.search(clause), _rate_of(kind)
    if number is None or rate == math.inf:
        return Cards(kind)
    cards = int(number.group(1))
    if cards > devices and "per node" not in clause and cards % nodes == 0:
        cards //= nodes
    return Cards(kind, node_rate=cards * rate)


def _rate_of(kind: str) -> float:
    """Bytes/s of one card of a kind, infinite where it is not known."""
    bandwidth = load_network_kind(kind).bandwidth
    return math.inf if bandwidth is None or bandwidth.value is None else bandwidth.value
