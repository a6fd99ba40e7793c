"""Hardware in the words of sources."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.validation.collectives.machines import Machine, Machines, SourceNote, load_machines
from planner.validation.collectives.words import machine_in


@pytest.fixture(scope="module")
def machines() -> Machines:
    return load_machines()


def outside(machine: Machine) -> str | None:
    return machine.node.outside if machine.leaves_domain else None


@pytest.mark.parametrize(
    ("words", "ranks", "nodes", "accelerator", "found_nodes", "kind", "card_GBps"),
    [
        ("1 node, 8x A100, NVLink3 300 GB/s/dir", 8, 1, "a100-sxm-80gb", 1, None, None),
        ("1 node 8x H200, ranks = GPUs engaged", 5, 1, "h200-sxm-141gb", 1, None, None),
        # 4 ports of 25 GB/s for 8 devices
        (
            "2 nodes x 8 A100-80GB SXM, 4x HDR 200 Gb/s per node",
            16,
            None,
            "a100-sxm-80gb",
            2,
            "infiniband-hdr",
            12.5,
        ),
        ("2x p5.48xlarge (8x H100, EFA 32x100 Gb/s)", 16, None, "h100-sxm-80gb", 2, "efa-400", 50.0),
        ("4x AWS p5en (8x H200, EFA 400 GB/s per node)", 32, 4, "h200-sxm-141gb", 4, "efa-400", 50.0),
        ("2 nodes x 8 H20, 16 CX7 NDR NICs", 16, 2, "h20", 2, "infiniband-ndr", 50.0),
        (
            "32 nodes x 8 H100, 8x NDR-class NICs per node",
            256,
            32,
            "h100-sxm-80gb",
            32,
            "infiniband-ndr",
            50.0,
        ),
        (
            "H800, one CX7 400 Gb/s per GPU; 128 tokens/batch",
            64,
            None,
            "h800-sxm-80gb",
            8,
            "infiniband-ndr",
            50.0,
        ),
        (
            "H800 (NVLink about 160 GB/s, CX7 about 50 GB/s)",
            16,
            None,
            "h800-sxm-80gb",
            2,
            "infiniband-ndr",
            50.0,
        ),
        (
            "2x GB200 NVL72 racks + Quantum-X800 InfiniBand",
            144,
            36,
            "gb200-nvl72",
            36,
            "infiniband-xdr",
            None,
        ),
        ("GB200 NVL72, 1 rack (18 trays x 4)", 72, 18, "gb200-nvl72", 18, None, None),
        ("4x P6-B200, 8x B200 each, EFA 3200 Gb/s", 32, 4, "b200-sxm", 4, "efa-400", 50.0),
        ("4x P6-B200, EFAv4 8x400 Gb/s", 32, 4, "b200-sxm", 4, "efa-400", 50.0),
        ("p4de.24xlarge, EFA", 16, None, "a100-sxm-80gb", 2, "efa-50", None),
        ("p6-b200, nothing more said", 16, 2, "b200-sxm", 2, "efa-400", None),
    ],
)
def test_machines_of_descriptions(
    machines: Machines,
    words: str,
    ranks: int,
    nodes: int | None,
    accelerator: str,
    found_nodes: int,
    kind: str | None,
    card_GBps: float | None,
) -> None:
    machine = machine_in(words, ranks, nodes, machines)
    assert (machine.accelerator, machine.nodes, machine.ranks) == (accelerator, found_nodes, ranks)
    assert outside(machine) == kind
    assert machine.card_rate == (None if card_GBps is None else pytest.approx(card_GBps * 1e9))
    assert machine.assumed is None


@pytest.mark.parametrize(
    ("words", "assumed"),
    [
        ("2 nodes x 8 H100", "network not stated: infiniband-ndr"),
        ("2 nodes x 1 H100, 4 NICs listed (one used)", "network not stated: infiniband-ndr"),
        ("8 nodes x 8 H100, InfiniBand with SHARP", "card not stated: infiniband-ndr-sharp"),
        ("2 nodes x 8 Ascend 910B3, NIC not stated", "network not stated: hccn-910b"),
    ],
)
def test_what_the_words_leave_out_is_said(machines: Machines, words: str, assumed: str) -> None:
    ranks = 2 if "x 1" in words else 64 if "8 nodes" in words else 16
    assert machine_in(words, ranks, None, machines).assumed == assumed


def test_a_note_says_more_than_the_words(machines: Machines) -> None:
    note = SourceNote(reason="seen on the photograph", accelerator="gaudi3", devices=4)
    machine = machine_in("8 Gaudi on one server", 8, None, machines, note)
    assert (machine.accelerator, machine.nodes, machine.ranks_per_node) == ("gaudi3", 2, 4)


@pytest.mark.parametrize(
    ("words", "ranks", "nodes", "reason"),
    [
        ("some cluster", 8, None, "name no known accelerator"),
        ("2 nodes x 8 H100", 17, 2, "17 ranks do not fit on 2 nodes"),
        ("1 node, 8x A100", 16, 1, "16 ranks do not fit on 1 nodes of 8"),
        ("a pod of tpu-v4", 64, None, "no reference node is known for tpu-v4"),
    ],
)
def test_what_cannot_be_a_machine_has_a_reason(
    machines: Machines, words: str, ranks: int, nodes: int | None, reason: str
) -> None:
    with pytest.raises(PlannerError, match=reason):
        machine_in(words, ranks, nodes, machines)
