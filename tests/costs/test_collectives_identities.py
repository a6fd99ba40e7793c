"""Collective costs: closed forms, identities and properties on clusters built by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.collectives import (
    COLLECTIVES,
    Algorithm,
    Collective,
    CollectiveConstants,
    algorithms,
    busbw_factor,
    collective_cost,
    collective_named,
)
from planner.errors import PlannerError
from planner.hardware.types import Accelerator, Cluster, KernelConstants, NetworkLevel
from planner.layouts.mesh import spread

GIB = 2**30
PLAIN = CollectiveConstants(base_s=0.0, pipelining=0.0)
"""Alpha-beta only, so that closed forms hold to the digit."""

DEVICE = Accelerator(
    "d", "v", "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}, memory_efficiency=1.0)
)


def level(size: int, bandwidth: float, latency_s: float = 1e-6, **options: Any) -> NetworkLevel:
    return NetworkLevel(f"l{size}", size, bandwidth, latency_s, **{"efficiency": 1.0, **options})


def cluster(*levels: NetworkLevel, per_node: int | None = None) -> Cluster:
    node = per_node or levels[0].size
    return Cluster("c", DEVICE, levels[-1].size // node, node, levels)


def cost(
    network: Cluster,
    collective: Collective,
    nbytes: float,
    size: int,
    stride: int = 1,
    algorithm: str = "auto",
) -> float:
    groups = spread(size, stride, network)
    return float(
        collective_cost(collective, nbytes, groups, network, algorithm=algorithm, constants=PLAIN).seconds[0]
    )


NODES = cluster(level(8, 200e9), level(64, 25e9, 5e-6))
WIDE = cluster(level(8, 200e9), level(512, 25e9, 5e-6))


def test_ring_on_one_level_is_the_textbook() -> None:
    """2(n-1) alpha + 2(n-1)/n S/B."""
    expected = 14 * 1e-6 + 2 * 7 / 8 * GIB / 200e9
    assert cost(NODES, "all_reduce", GIB, 8, algorithm="ring") == pytest.approx(expected)


def test_ring_over_nodes_uses_one_network_card_per_member() -> None:
    """Eight cards of 25 GB/s carry what eight links of 200 GB/s could: bound 200; with one member per node one card."""
    edges = 56 * 1e-6 + 7 * 5e-6
    assert cost(NODES, "all_gather", GIB, 64, algorithm="ring") == pytest.approx(
        edges + 63 / 64 * GIB / 200e9
    )
    assert cost(NODES, "all_gather", GIB, 8, 8, "ring") == pytest.approx(7 * 5e-6 + 7 / 8 * GIB / 25e9)
    assert cost(NODES, "all_gather", GIB, 16, 4, "ring") == pytest.approx(8e-6 + 35e-6 + 15 / 16 * GIB / 50e9)


def test_hierarchical_all_reduce_is_scatter_reduce_gather() -> None:
    inside = 2 * (7e-6 + 7 / 8 * GIB / 200e9)
    between = 2 * (7 * 5e-6 + 7 / 8 * GIB / 8 / 25e9)
    assert cost(NODES, "all_reduce", GIB, 64, algorithm="hierarchical") == pytest.approx(inside + between)


def test_double_binary_tree_between_two_and_more_nodes() -> None:
    """Two nodes send the buffer once each way, more send it twice; 2 [(g-1) intra + log2(K) inter] latency (NCCL)."""
    factor = 1 / PLAIN.tree_efficiency
    two = 2 * (7 * 1e-6 + 5e-6) + max(2 * GIB / 200e9, GIB / 200e9) * factor
    eight = 2 * (7 * 1e-6 + 3 * 5e-6) + 2 * GIB / 200e9 * factor
    pair = 2 * 5e-6 + GIB / 25e9 * factor
    assert cost(
        cluster(level(8, 200e9), level(16, 25e9, 5e-6)), "all_reduce", GIB, 16, algorithm="tree"
    ) == pytest.approx(two)
    assert cost(NODES, "all_reduce", GIB, 64, algorithm="tree") == pytest.approx(eight)
    assert cost(
        cluster(level(8, 200e9), level(16, 25e9, 5e-6)), "all_reduce", GIB, 2, 8, "tree"
    ) == pytest.approx(pair)


def test_chunking_adds_the_square_root_term() -> None:
    """start + L + T + 2 sqrt(F T): 7 hops of 1 us, of which four slices in flight feel 4, and 7/8 GiB at 200 GB/s."""
    latency, transfer = 7e-6, 7 / 8 * GIB / 200e9
    expected = 7e-6 + latency + transfer + 2 * math.sqrt(4e-6 * transfer)
    priced = collective_cost("all_gather", GIB, spread(8, 1, NODES), NODES, algorithm="ring")
    assert priced.seconds[0] == pytest.approx(expected)
    assert priced.latency_s[0] == pytest.approx(7e-6 + latency)


def test_a_ring_feels_one_hop_outside_the_node_and_four_inside() -> None:
    transfer = 63 / 64 * GIB / 25e9
    priced = collective_cost("all_gather", GIB, spread(64, 8, WIDE), WIDE, algorithm="ring")
    assert priced.seconds[0] == pytest.approx(7e-6 + 63 * 5e-6 + transfer + 2 * math.sqrt(5e-6 * transfer))
    rack = cluster(level(64, 200e9))
    transfer = 63 / 64 * GIB / 200e9
    priced = collective_cost("all_gather", GIB, spread(64, 1, rack), rack, algorithm="ring")
    assert priced.seconds[0] == pytest.approx(7e-6 + 63e-6 + transfer + 2 * math.sqrt(4e-6 * transfer))


def test_no_rank_handles_less_than_one_element() -> None:
    groups = spread(8, 1, NODES)
    one, many = (
        collective_cost("all_reduce", nbytes, groups, NODES, dtype_bytes=4).seconds for nbytes in (4, 32)
    )
    assert one[0] == many[0]


def test_in_switch_reduction_does_not_depend_on_the_ranks() -> None:
    network = cluster(level(8, 400e9, in_network_reduction=True, in_network_efficiency=0.5))
    groups = spread([5, 6, 8], 1, dataclasses.replace(network), devices=8)
    priced = collective_cost("all_reduce", GIB, groups, network, algorithm="in_network", constants=PLAIN)
    assert priced.seconds - priced.latency_s == pytest.approx([GIB / 200e9] * 3)


def test_in_switch_reduction_needs_members_and_switches() -> None:
    with pytest.raises(PlannerError, match="cannot run"):
        cost(NODES, "all_reduce", GIB, 8, algorithm="in_network")
    network = cluster(level(8, 400e9, in_network_reduction=True))
    with pytest.raises(PlannerError, match="cannot run"):
        cost(network, "all_reduce", GIB, 4, algorithm="in_network")


def test_full_mesh_gives_a_pair_one_link() -> None:
    """All-reduce time on 2, 4, 8 of a mesh follows (n-1) links."""
    mesh = cluster(level(8, 448e9, 0.0, fabric="full_mesh", per_flow_bandwidth=64e9))
    for n in (2, 4, 8):
        rate = (n - 1) * 64e9
        assert cost(mesh, "all_reduce", GIB, n, algorithm="ring") == pytest.approx(
            2 * (n - 1) / n * GIB / rate
        )
        assert cost(mesh, "all_to_all", GIB, n) == pytest.approx((n - 1) / n * GIB / rate)


def test_torus_dimensions_work_together() -> None:
    """Closed rings of 4 send both ways on each of three dimensions: six links of 45 GB/s."""
    torus = cluster(level(64, 270e9, 0.0, fabric="torus", shape=(4, 4, 4)), per_node=4)
    assert cost(torus, "all_gather", GIB, 64, algorithm="ring") == pytest.approx(63 / 64 * GIB / 270e9)
    assert cost(torus, "all_reduce", GIB, 4, algorithm="ring") == pytest.approx(2 * 3 / 4 * GIB / 90e9)
    assert cost(torus, "all_reduce", GIB, 4, 16, "ring") == pytest.approx(2 * 3 / 4 * GIB / 90e9)
    assert cost(torus, "all_gather", GIB, 16, algorithm="ring") == pytest.approx(15 / 16 * GIB / 180e9)


def test_a_group_as_long_as_a_dimension_lies_on_it() -> None:
    """Eight on a torus of 4 x 8 x 8 close one ring of two links; four times eight behind them close two rings."""
    torus = cluster(level(256, 540e9, 0.0, fabric="torus", shape=(4, 8, 8)), per_node=4)
    assert cost(torus, "all_gather", GIB, 8, algorithm="ring") == pytest.approx(7 / 8 * GIB / 180e9)
    assert cost(torus, "all_gather", GIB, 32, 8, "ring") == pytest.approx(31 / 32 * GIB / 360e9)


def test_torus_without_wrap_or_in_part_is_a_line() -> None:
    line = cluster(level(8, 90e9, 0.0, fabric="torus", shape=(8,), wrap=False))
    assert cost(line, "all_gather", GIB, 8, algorithm="ring") == pytest.approx(7 / 8 * GIB / 45e9)
    closed = cluster(level(8, 90e9, 0.0, fabric="torus", shape=(8,)))
    assert cost(closed, "all_gather", GIB, 4, algorithm="ring") == pytest.approx(3 / 4 * GIB / 45e9)


def test_all_to_all_on_a_ring_is_bound_by_its_bisection() -> None:
    """S n / 8 bytes over each link of a closed ring, S n / 4 of an open one."""
    closed = cluster(level(8, 90e9, 0.0, fabric="torus", shape=(8,)))
    line = cluster(level(8, 90e9, 0.0, fabric="torus", shape=(8,), wrap=False))
    assert cost(closed, "all_to_all", GIB, 8) == pytest.approx(GIB * 8 / 8 / 45e9)
    assert cost(line, "all_to_all", GIB, 8) == pytest.approx(GIB * 8 / 4 / 45e9)


def test_linear_all_to_all_is_the_slowest_level() -> None:
    """64 ranks: 56/64 of the buffer leaves the node over one card, in 56 messages that are posted together."""
    posted = 5e-6 + 55 * PLAIN.message_gap_s
    assert cost(NODES, "all_to_all", GIB, 64, algorithm="linear") == pytest.approx(
        56 / 64 * GIB / 25e9 + posted
    )


def test_two_level_all_to_all_moves_more_in_fewer_messages() -> None:
    copies = 2 * 2 * GIB / 3e12
    inside = 7e-6 + 7 / 8 * GIB / 200e9
    between = 5e-6 + 6 * PLAIN.message_gap_s + 7 / 8 * GIB / 25e9
    assert cost(NODES, "all_to_all", GIB, 64, algorithm="two_level") == pytest.approx(
        inside + between + copies
    )


def test_two_level_wins_for_small_messages_and_loses_for_large_ones() -> None:
    """Tutel (arXiv 2206.03382): 2DH beats linear at 1 MiB from few GPUs on, at 256 MiB only on many."""

    def ratio(nbytes: float, devices: int) -> float:
        network = cluster(level(8, 240e9), level(devices, 20e9, 5e-6))
        both = (cost(network, "all_to_all", nbytes, devices, 1, name) for name in ("linear", "two_level"))
        linear, two_level = both
        return two_level / linear

    assert ratio(2**20, 64) < 1
    assert ratio(2**28, 64) > 1
    assert ratio(2**26, 2048) < 1


def test_send_and_receive_sees_one_flow() -> None:
    network = cluster(level(8, 200e9), level(64, 25e9, 5e-6, per_flow_bandwidth=10e9))
    assert cost(network, "send_recv", GIB, 2) == pytest.approx(1e-6 + GIB / 200e9)
    assert cost(network, "send_recv", GIB, 4, 16) == pytest.approx(5e-6 + GIB / 10e9)


def test_oversubscription_divides_the_bandwidth_above_the_leaf() -> None:
    spine = cluster(level(8, 200e9), level(64, 25e9), level(512, 25e9, oversubscription=4.0))
    assert cost(spine, "all_to_all", GIB, 8, 64) == pytest.approx(7 / 8 * GIB / 6.25e9 + 7e-6)


def test_a_dragonfly_keeps_part_of_its_wire() -> None:
    network = cluster(level(8, 200e9), level(64, 25e9, 0.0, fabric="dragonfly"))
    rate = 25e9 * PLAIN.dragonfly_efficiency
    assert cost(network, "all_gather", GIB, 8, 8, "ring") == pytest.approx(7 / 8 * GIB / rate)


def test_star_wins_only_on_slow_host_driven_networks_with_small_messages() -> None:
    """TPI-LLM (arXiv 2410.00531): star beats ring below about alpha B n(n-2)/(n-1)^2 bytes."""
    network = cluster(level(1, 1e12), level(8, 125e6, 30e-3, kind="internet"))
    border = 30e-3 * 125e6 * 8 * 6 / 49
    for nbytes, wins in ((border * 0.9, True), (border * 1.1, False)):
        star = cost(network, "all_reduce", nbytes, 8, algorithm="star")
        assert (star < cost(network, "all_reduce", nbytes, 8, algorithm="ring")) is wins
    with pytest.raises(PlannerError, match="cannot run"):
        cost(NODES, "all_reduce", 8, 8, algorithm="star")


def test_bytes_per_level_of_a_ring_over_nodes() -> None:
    """The ring of 64 has 8 edges between nodes: each device sends 8/64 of its bytes over its card."""
    priced = collective_cost("all_gather", 64e6, spread(64, 1, NODES), NODES, algorithm="ring")
    assert priced.bytes_per_level[0] == pytest.approx([63e6 * 56 / 64, 63e6 * 8 / 64])


def test_levels_outside_the_node_share_the_network_card() -> None:
    """512 ranks: 504/512 of an all-to-all leaves the node, 448/512 leaves the leaf."""
    network = cluster(level(8, 200e9), level(64, 25e9), level(512, 25e9))
    priced = collective_cost("all_to_all", 512e6, spread(512, 1, network), network, algorithm="linear")
    assert priced.bytes_per_level[0] == pytest.approx([7e6, 504e6, 448e6])


def test_a_switch_that_spans_nodes_is_not_behind_the_network_card() -> None:
    """72 devices in nodes of 4 under one NVLink switch: what leaves for the next rack does not pass the switch."""
    racks = cluster(level(72, 900e9), level(144, 50e9), per_node=4)
    priced = collective_cost("all_to_all", 144e6, spread(144, 1, racks), racks, algorithm="linear")
    assert priced.bytes_per_level[0] == pytest.approx([71e6, 72e6])
    packages = cluster(level(2, 270e9), level(768, 196e9), level(1536, 25e9), per_node=16)
    priced = collective_cost("all_to_all", 1536e6, spread(1536, 1, packages), packages, algorithm="linear")
    assert priced.bytes_per_level[0] == pytest.approx([1e6, 766e6, 768e6])


def test_a_rail_network_forwards_inside_the_node() -> None:
    """7/8 of what leaves the node goes to another rail and crosses the node first."""
    rails = cluster(level(8, 200e9), level(64, 25e9, fabric="rail"))
    priced = collective_cost("all_to_all", 64e6, spread(64, 1, rails), rails, algorithm="linear")
    assert priced.bytes_per_level[0] == pytest.approx([7e6 + 49e6, 56e6])
    same_rail = collective_cost("all_to_all", 64e6, spread(8, 8, rails), rails, algorithm="linear")
    assert same_rail.bytes_per_level[0] == pytest.approx([0, 56e6])


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_a_group_of_one_and_zero_bytes_cost_nothing(collective: Collective) -> None:
    for nbytes, size in ((GIB, 1), (0, 8)):
        priced = collective_cost(collective, nbytes, spread(size, 1, NODES), NODES)
        assert priced.seconds[0] == 0
        assert priced.latency_s[0] == 0
        assert not priced.bytes_per_level.any()
        assert priced.algorithm[0] == Algorithm.NONE


def test_busbw_factors_are_those_of_nccl_tests() -> None:
    assert busbw_factor("all_reduce", 8) == pytest.approx(1.75)
    assert busbw_factor("all_gather", [8, 2]) == pytest.approx([0.875, 0.5])
    assert busbw_factor("all_to_all", 4) == pytest.approx(0.75)
    assert busbw_factor("broadcast", 4) == 1
    assert busbw_factor("send_recv", 2) == 1


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(PlannerError, match="did you mean 'all_reduce'"):
        collective_named("allreduce")
    with pytest.raises(PlannerError, match="did you mean 'ring'"):
        cost(NODES, "all_reduce", 8, 8, algorithm="rings")


SHAPES = st.sampled_from([(8, 1), (64, 1), (8, 8), (16, 4), (2, 1), (4, 16), (32, 2)])
SIZES = st.floats(1, 1e11)
CASES = st.tuples(st.sampled_from(COLLECTIVES), SHAPES, SIZES)
INNER = st.sampled_from(["switch", "full_mesh", "torus", "ring"])
OUTER = st.sampled_from(["fat_tree", "rail", "dragonfly", "switch", "torus"])


def built(inner: str, outer: str, scale: float = 1.0, latency: float = 1.0, **options: Any) -> Cluster:
    return cluster(
        level(
            8,
            200e9 * scale,
            1e-6 * latency,
            fabric=inner,
            shape=(2, 4) if inner == "torus" else None,
            **options,
        ),
        level(64, 25e9 * scale, 5e-6 * latency, fabric=outer, shape=(8,) if outer == "torus" else None),
    )


def seconds(network: Cluster, case: tuple[Collective, tuple[int, int], float]) -> float:
    collective, (size, stride), nbytes = case
    return float(collective_cost(collective, nbytes, spread(size, stride, network), network).seconds[0])


@given(CASES, INNER, OUTER, st.floats(1, 100), st.booleans())
def test_more_bandwidth_or_fewer_bytes_or_less_latency_is_never_slower(
    case: tuple[Collective, tuple[int, int], float], inner: str, outer: str, factor: float, reducing: bool
) -> None:
    collective, shape, nbytes = case
    plain = seconds(built(inner, outer, in_network_reduction=reducing), case)
    bound = plain * (1 + 1e-9)
    assert seconds(built(inner, outer, scale=factor, in_network_reduction=reducing), case) <= bound
    assert seconds(built(inner, outer, latency=1 / factor, in_network_reduction=reducing), case) <= bound
    fewer = (collective, shape, nbytes / factor)
    assert seconds(built(inner, outer, in_network_reduction=reducing), fewer) <= bound
    assert math.isfinite(plain)
    assert plain > 0


@given(SHAPES, SIZES, INNER, OUTER)
def test_ring_all_reduce_is_reduce_scatter_and_all_gather(
    shape: tuple[int, int], nbytes: float, inner: str, outer: str
) -> None:
    network = built(inner, outer)
    total = cost(network, "all_reduce", nbytes, *shape, "ring")
    parts = [cost(network, part, nbytes, *shape, "ring") for part in ("reduce_scatter", "all_gather")]
    assert total == pytest.approx(sum(parts))


@given(
    st.sampled_from(["all_reduce", "all_gather", "reduce_scatter"]),
    SIZES,
    st.sampled_from([(8, 1), (8, 8), (2, 8)]),
    INNER,
)
def test_hierarchical_on_one_level_is_flat(
    collective: Collective, nbytes: float, shape: tuple[int, int], inner: str
) -> None:
    network = built(inner, "fat_tree")
    groups = spread(*shape, network)
    flat, levels = (
        collective_cost(collective, nbytes, groups, network, algorithm=name)
        for name in ("ring", "hierarchical")
    )
    assert flat.seconds == pytest.approx(levels.seconds)
    assert flat.bytes_per_level == pytest.approx(levels.bytes_per_level)


@given(st.lists(st.tuples(SHAPES, SIZES), min_size=1, max_size=8), st.sampled_from(COLLECTIVES))
def test_a_batch_equals_its_rows(rows: list[tuple[tuple[int, int], float]], collective: Collective) -> None:
    network = built("switch", "rail", in_network_reduction=True)
    size, stride = (np.array([shape[axis] for shape, _ in rows]) for axis in (0, 1))
    nbytes = np.array([value for _, value in rows])
    batch = collective_cost(collective, nbytes, spread(size, stride, network), network)
    for row, (shape, value) in enumerate(rows):
        alone = collective_cost(collective, value, spread(*shape, network), network)
        assert alone.seconds[0] == batch.seconds[row]
        assert alone.algorithm[0] == batch.algorithm[row]
        assert np.array_equal(alone.bytes_per_level[0], batch.bytes_per_level[row])


@given(CASES, INNER, OUTER)
def test_auto_is_the_fastest_legal_algorithm(
    case: tuple[Collective, tuple[int, int], float], inner: str, outer: str
) -> None:
    network = built(inner, outer, in_network_reduction=True)
    collective, (size, stride), nbytes = case
    times = []
    for name in algorithms(collective):
        try:
            priced = collective_cost(
                collective, nbytes, spread(size, stride, network), network, algorithm=name
            )
        except PlannerError:
            continue
        times.append(float(priced.seconds[0]))
    assert seconds(network, case) == pytest.approx(min(times), rel=1e-8)
