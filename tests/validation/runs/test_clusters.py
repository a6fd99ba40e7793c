"""Hardware of rows as clusters: rates per device by hand, domains, slices, what is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from planner.hardware.catalogue import list_accelerators
from planner.hardware.types import Cluster
from planner.validation.runs.clusters import build_cluster, reference_nodes
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RowHardware
from planner.validation.runs.shelf import Shelf


def cluster(slices: int = 1, **fields: Any) -> Cluster:
    return build_cluster(RowHardware.model_validate(fields), Shelf(), slices=slices)[0]


@pytest.mark.parametrize(
    ("accelerator", "kind", "rate", "per_device", "catalogue"),
    [
        ("h100-sxm-80gb", "infiniband", 3200, 50e9, "infiniband-ndr"),
        ("a100-sxm-80gb", "infiniband", 1600, 25e9, "infiniband-hdr"),
        ("a100-sxm-80gb", "omni-path", 400, 6.25e9, "omni-path"),
        ("a100-sxm-40gb", "roce", 1600, 25e9, "roce-200"),
        ("ascend-910b", "roce", 1600, 25e9, "hccn-910b"),
    ],
)
def test_the_nics_of_a_node_are_shared_by_its_devices(
    accelerator: str, kind: str, rate: int, per_device: float, catalogue: str
) -> None:
    """Gb/s per node / 8 bits / 8 devices."""
    network = {"kind": kind, "gbps_per_node": rate}
    found = cluster(accelerator=accelerator, count=64, per_node=8, network=network)
    assert found.devices == 64
    assert [level.size for level in found.network] == [8, 64]
    assert found.network[1].bandwidth == pytest.approx(per_device)
    assert found.network[1].kind == catalogue


def test_one_node_has_no_outer_level() -> None:
    found = cluster(accelerator="a100-sxm-80gb", count=2, per_node=2, network={"kind": "none (one node)"})
    assert [level.size for level in found.network] == [2]


def test_racks_are_used_in_equal_shares() -> None:
    """128 devices of racks of 72: 64 of each of two."""
    network = {"kind": "nvlink-domain-72"}
    found = cluster(accelerator="gb200-nvl72", count=128, per_node=4, network=network)
    assert [level.size for level in found.network] == [64, 128]


def test_slices_are_joined_by_the_data_center_network() -> None:
    """Two v5e slices of 256 chips."""
    found = cluster(slices=2, accelerator="tpu-v5e", count=512, network={"kind": "ici"})
    assert [level.size for level in found.network] == [256, 512]
    assert found.network[0].shape == (16, 16)
    assert found.network[1].kind == "tpu-dcn"
    assert found.devices == 512


def test_a_rate_that_is_not_given_is_an_assumption() -> None:
    hardware = RowHardware.model_validate(
        {"accelerator": "a100-sxm-80gb", "count": 16, "per_node": 8, "network": {"kind": "unknown"}}
    )
    _, assumed = build_cluster(hardware, Shelf())
    assert assumed == ("network between nodes not given: infiniband-hdr of the reference node",)


@pytest.mark.parametrize("kind", ["string", "unknown", None])
def test_a_stated_rate_is_used_whatever_the_kind(kind: str | None) -> None:
    """1600 Gb/s of eight devices are 25 GB/s of each; the protocol is that of the reference node."""
    network = {"kind": kind, "gbps_per_node": 1600}
    hardware = RowHardware.model_validate({"accelerator": "h100-sxm-80gb", "count": 16, "network": network})
    found, assumed = build_cluster(hardware, Shelf())
    assert found.network[1].bandwidth == pytest.approx(25e9)
    assert found.network[1].kind == "infiniband-ndr"
    assert len(assumed) == 1
    assert "infiniband-ndr of the reference node" in assumed[0]


def test_every_accelerator_of_the_catalogue_has_a_reference_node() -> None:
    assert set(list_accelerators()) - {"cpu"} <= set(reference_nodes())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"accelerator": "abacus", "count": 8}, "not in the catalogue"),
        ({"accelerator": "a100-sxm-80gb"}, "hardware.count"),
        ({"accelerator": "a100-sxm-80gb", "count": 12, "per_node": 8}, "whole nodes"),
    ],
)
def test_impossible_hardware(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        cluster(**fields)


@pytest.mark.parametrize("name", [name for name, node in reference_nodes().items() if "inside" in node])
def test_every_reference_node_can_be_built(name: str) -> None:
    per_node = int(reference_nodes()[name]["per_node"])
    for count in (per_node, 2 * per_node):
        assert cluster(accelerator=name, count=count).devices == count
