"""Packaged node descriptions: all of them make clusters, and parts of nodes keep their links."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import PlannerError
from planner.hardware.calibration import alone
from planner.hardware.loader import list_accelerators, load_cluster
from planner.validation.collectives.machines import Machine, Machines, cluster_of, load_machines, node_named


@pytest.fixture(scope="module")
def machines() -> Machines:
    return load_machines()


def test_every_node_is_two_nodes_of_a_cluster(machines: Machines) -> None:
    for table in (machines.reference_nodes, machines.pairwise_nvlink):
        for accelerator, node in table.items():
            cluster = cluster_of(Machine(accelerator, node, 2, node.devices))
            assert cluster.devices == 2 * node.devices, accelerator
            assert cluster.network[-1].size >= cluster.devices, accelerator
            assert cluster.accelerator.name == accelerator


def test_everything_that_the_table_names_is_in_the_catalogue(machines: Machines) -> None:
    accelerators = set(list_accelerators())
    assert set(machines.reference_nodes) <= accelerators
    for instance in machines.instances.values():
        assert instance.accelerator in machines.reference_nodes
    assert all(note.reason for note in machines.sources.values())
    assert all(machines.doubts.values())


def test_a_reference_node_is_that_of_the_catalogue(machines: Machines) -> None:
    """Where the catalogue has a cluster of the same accelerator, both describe the same links."""
    names = {"a100-sxm-80gb": "a100-superpod", "h100-sxm-80gb": "h100-superpod", "mi300x": "mi300x-cluster"}
    for accelerator, name in names.items():
        ours = cluster_of(Machine(accelerator, machines.reference_nodes[accelerator], 4, 8))
        theirs = alone(load_cluster(name))
        assert ours.devices_per_node == theirs.devices_per_node
        for one, other in zip(ours.network, theirs.network, strict=True):
            assert replace(one, name="", size=1) == replace(other, name="", size=1)


def test_some_devices_of_a_full_mesh_keep_their_single_links(machines: Machines) -> None:
    node = machines.reference_nodes["mi300x"]
    whole = cluster_of(Machine("mi300x", node, 1, 8)).network[0]
    part = cluster_of(Machine("mi300x", node, 2, 4)).network[0]
    link = whole.per_flow_bandwidth or whole.bandwidth / 7
    assert part.size == 4
    assert part.per_flow_bandwidth == pytest.approx(link)


def test_a_rack_spans_nodes_and_racks_must_be_full(machines: Machines) -> None:
    node = machines.reference_nodes["gb200-nvl72"]
    assert [level.size for level in cluster_of(Machine("gb200-nvl72", node, 36, 4)).network] == [72, 144]
    assert [level.size for level in cluster_of(Machine("gb200-nvl72", node, 4, 4)).network] == [72]
    with pytest.raises(PlannerError, match="76 ranks do not fill domains of 72"):
        cluster_of(Machine("gb200-nvl72", node, 19, 4))


def test_stated_cards_replace_the_rate_of_the_kind(machines: Machines) -> None:
    node = machines.reference_nodes["a100-sxm-80gb"]
    assert cluster_of(Machine("a100-sxm-80gb", node, 2, 8, card_rate=12.5e9)).network[-1].bandwidth == 12.5e9


def test_too_many_ranks_for_a_node(machines: Machines) -> None:
    with pytest.raises(PlannerError, match="9 ranks in a node of 8"):
        cluster_of(Machine("h20", machines.reference_nodes["h20"], 1, 9))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a100_dxg", "did you mean 'dgx'"),
        ("z100_dgx", "unknown accelerator 'z100'"),
        ("mi300x_pairwise_nvlink", "pairwise_nvlink is described for a100-sxm-80gb"),
    ],
)
def test_unknown_nodes(machines: Machines, name: str, words: str) -> None:
    with pytest.raises(PlannerError, match=words):
        node_named(name, machines)
