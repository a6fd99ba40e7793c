"""Clusters with groups: parts by reference, names, and what joins them."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import PlannerError
from planner.hardware.loader import is_grouped, load_cluster
from planner.hardware.types import Cluster

A100 = {"cluster": "a100-superpod", "devices": 32}
V100 = {"cluster": "v100-dgx2", "devices": 32}
NODE = {"cluster": "h100-superpod", "devices": 8}


def load(*groups: Any, **fields: Any) -> Cluster:
    return load_cluster({"groups": list(groups), **fields}, allow_groups=True)


def test_parts_of_catalogue_clusters() -> None:
    cluster = load({**A100, "name": "new"}, V100)
    assert [(part.name, part.nodes, part.devices) for part in cluster.groups] == [
        ("new", 4, 32),
        ("v100-dgx2", 2, 32),
    ]
    assert is_grouped({"groups": [A100, V100]})
    assert not is_grouped("a100-superpod")


def test_groups_of_the_same_cluster_get_names_of_their_own() -> None:
    assert [part.name for part in load(A100, A100, A100).groups] == [
        "a100-superpod",
        "a100-superpod-2",
        "a100-superpod-3",
    ]


def test_what_is_not_stated_is_the_slower_network() -> None:
    """HDR: 25 GB/s per device; a DGX-2 shares 8 EDR ports of 12.5 GB/s among 16 devices."""
    (link,) = load(A100, V100).between
    assert (link.groups, link.stated) == ((0, 1), False)
    assert link.level.bandwidth == pytest.approx(8 * 12.5e9 / 16)
    assert link.level.size == 64


def test_one_link_for_all_and_one_for_a_pair() -> None:
    between = [
        {"bandwidth": "1 GB/s", "latency": "50 us"},
        {"groups": ["v100-dgx2", "a100-superpod"], "kind": "infiniband-hdr"},
    ]
    cluster = load(A100, V100, NODE, between=between)
    found = {link.groups: link.level.bandwidth for link in cluster.between}
    assert found == {(0, 1): 25e9, (0, 2): 1e9, (1, 2): 1e9}
    assert load(A100, V100, between=between[0]).between[0].level.latency_s == pytest.approx(50e-6)


@pytest.mark.parametrize(
    ("groups", "fields", "field", "message"),
    [
        ([A100, NODE], {}, "between", "no network between nodes"),
        ([A100, V100], {"between": {"latency": "1 us"}}, "between.bandwidth", "is missing"),
        (
            [A100, V100],
            {"between": {"kind": "infiniband-hdrr"}},
            "between.kind",
            "did you mean 'infiniband-hdr'",
        ),
        (
            [A100, V100],
            {"between": [{"groups": ["a100-superpod", "v100"], "kind": "roce-100"}]},
            "between[0].groups[1]",
            "did you mean 'v100-dgx2'",
        ),
        (
            [A100, V100],
            {"between": [{"groups": ["v100-dgx2", "v100-dgx2"], "kind": "roce-100"}]},
            "between[0].groups",
            "two groups",
        ),
        ([A100, V100], {"between": [{"kind": "roce-100"}] * 2}, "between[1]", "all other groups twice"),
        ([{**A100, "devices": 12}, V100], {}, "groups[0].devices", "whole nodes"),
        ([{**A100, "device": 8}, V100], {}, "groups[0].device", "devices"),
        ([A100], {}, "groups", "at least 2"),
        ([{"cluster": "a100-superpodd"}, V100], {}, "groups[0].cluster", "a100-superpod"),
    ],
)
def test_faults_name_their_field(groups: list[Any], fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(PlannerError, match=message) as caught:
        load(*groups, **fields)
    assert caught.value.field == field
