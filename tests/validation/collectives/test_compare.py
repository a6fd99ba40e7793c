"""Published collectives: machines from words, groups by sweep and size, doubts scored apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner.costs.collectives import collective_cost
from planner.errors import PlannerError
from planner.hardware.calibration import alone
from planner.hardware.loader import load_cluster
from planner.layouts.mesh import spread
from planner.validation.collectives import compare_collectives
from planner.validation.collectives.pricing import band_of
from planner.validation.points import Comparison, Point

MIB = 2**20


@pytest.fixture(scope="module")
def sample(root: Path) -> Comparison:
    return compare_collectives([root / "tests" / "data" / "collectives_published.yaml"], calibrated=False)


def one(folder: Path, source: str, point: str) -> Point:
    file = folder / "points.yaml"
    file.write_text(f"sources: {{s: {{{source}}}}}\npoints: [{{id: p, source: s, {point}}}]\n")
    (found,) = compare_collectives([file]).points
    return found


def expected(name: str, ranks: int, nbytes: float, collective: str = "all_reduce") -> float:
    cluster = alone(load_cluster(name))
    groups = spread(ranks, 1, cluster, devices=ranks)
    return float(collective_cost(collective, nbytes, groups, cluster).seconds[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nbytes", "band"),
    [
        (1, "< 1 MiB"),
        (MIB - 1, "< 1 MiB"),
        (MIB, "1-64 MiB"),
        (64 * MIB - 1, "1-64 MiB"),
        (64 * MIB, ">= 64 MiB"),
    ],
)
def test_bands(nbytes: int, band: str) -> None:
    assert band_of(nbytes) == band


def test_the_sample_is_predicted_whole(sample: Comparison) -> None:
    overall = sample.overall()
    assert (overall.predicted, overall.refused) == (overall.n, 0)
    assert "ascend_910b3_2node" in sample.assumptions


def test_a_point_costs_what_the_catalogue_says_of_its_machine(tmp_path: Path) -> None:
    for ranks, nodes, name in ((8, 1, "a100-superpod"), (32, 4, "a100-superpod")):
        found = one(
            tmp_path,
            f"tool: nccl-tests, hw: '{nodes} nodes x 8 A100', nodes: {nodes}",
            f"collective: all_reduce, ranks: {ranks}, bytes: 268435456, time_us: 2420.6",
        )
        assert found.predicted_s == pytest.approx(expected(name, ranks, 256 * MIB))
        assert found.measured_s == pytest.approx(2420.6e-6)
        assert found.half_width_s == pytest.approx(0.05e-6)


def test_a_benchmark_timed_from_pytorch_pays_the_launch(tmp_path: Path) -> None:
    point = "collective: all_reduce, ranks: 8, bytes: 1048576, time_us: 50"
    hardware = "hw: '1 node, 8x A100', nodes: 1"
    device = one(tmp_path, f"tool: nccl-tests, {hardware}", point).predicted_s or 0.0
    host = one(tmp_path, f"tool: 'all_reduce_bench.py, torch 2.9', {hardware}", point).predicted_s or 0.0
    assert host - device == pytest.approx(15e-6)


def test_a_printed_algorithm_is_the_one_that_is_priced(sample: Comparison) -> None:
    forced = [p for p in sample.points if p.labels["family"] == "mleng_h200_coll"]
    names = {str(point.labels["operator"]) for point in forced}
    assert names == {
        "all_reduce (in_network)",
        "all_reduce (ring)",
        "all_gather (ring)",
        "reduce_scatter (ring)",
    }
    times = {str(p.labels["operator"]): p.predicted_s or 0.0 for p in forced}
    # a ring all-reduce is a reduce-scatter and an all-gather
    parts = times["all_gather (ring)"] + times["reduce_scatter (ring)"]
    assert times["all_reduce (ring)"] == pytest.approx(parts, rel=0.01)


def test_unknown_words_are_refused_with_the_reason(tmp_path: Path) -> None:
    found = one(
        tmp_path,
        "tool: x, hw: an old cluster",
        "collective: all_reduce, ranks: 8, bytes: 8, busbw_GBps: 1.0",
    )
    assert found.predicted_s is None
    assert found.refused_because == "the hardware words name no known accelerator"


def test_a_point_may_bring_its_own_hardware(tmp_path: Path) -> None:
    point = "collective: all_gather, ranks: 16, bytes: 1048576, time_us: 90, hw: '2 nodes x 8 H100, NDR'"
    found = one(tmp_path, "tool: nccl-tests", point)
    assert (found.labels["accelerator"], found.labels["nodes"]) == ("h100-sxm-80gb", 2)
    assert found.labels["network"] == "infiniband-ndr"
    assert found.apart is None


@pytest.mark.parametrize(
    ("source", "point", "why"),
    [
        ("hw: '2 nodes x 8 H100'", "bytes: 8, time_us: 90", "network not stated: infiniband-ndr"),
        ("hw: '2 nodes x 8 H100, NDR', quality: headline only", "bytes: 8, time_us: 9", "quality: headline"),
        ("hw: '2 nodes x 8 H100, NDR'", "busbw_GBps: 300", "size not printed"),
        ("hw: '2 nodes x 8 H100, NDR'", "bytes: 8, time_us: 90", None),
    ],
)
def test_what_is_scored_apart(tmp_path: Path, source: str, point: str, why: str | None) -> None:
    assert one(tmp_path, source, f"collective: all_reduce, ranks: 16, {point}").apart == why


def test_a_rate_on_the_bottleneck_is_that_of_one_device_on_the_level(tmp_path: Path) -> None:
    """NDR cards of 50 GB/s that carry nothing else: the predicted time over the measured one is 25 over the achieved rate."""
    point = "collective: moe_dispatch, ranks: 16, bytes: null, bottleneck_GBps: 25, bottleneck: RDMA"
    found = one(tmp_path, "hw: 'H800, one CX7 400 Gb/s per GPU'", point)
    cluster = alone(load_cluster("h800-cluster"))
    achieved = cluster.network[-1].bandwidth * cluster.network[-1].efficiency
    assert found.labels["band"] == "plateau"
    assert found.measured_s is not None
    assert (found.predicted_s or 0.0) / found.measured_s == pytest.approx(25e9 / achieved, rel=0.01)


def test_a_level_that_carries_nothing_has_no_rate(tmp_path: Path) -> None:
    point = "collective: moe_combine, ranks: 1, bytes: null, bottleneck_GBps: 25, bottleneck: NVLink"
    assert (
        one(tmp_path, "hw: 8x H800", point).refused_because
        == "the rate of a level that the group does not use"
    )


def test_a_refused_rate_on_the_bottleneck_has_no_time(tmp_path: Path) -> None:
    point = "collective: moe_combine, ranks: 16, bytes: null, bottleneck_GBps: 25, bottleneck: RDMA"
    refused = one(tmp_path, "hw: an old cluster", point)
    assert (refused.measured_s, refused.error, refused.error_beyond) == (None, None, None)


def test_tables_of_nodes_are_read_too(root: Path) -> None:
    comparison = compare_collectives([root / "tests" / "data"])
    table = [p for p in comparison.points if str(p.labels["family"]) == "a100_dgx"]
    across = [p for p in table if p.labels["nodes"] == 2]
    assert {p.apart for p in across} == {"network not stated: infiniband-hdr"}
    assert {p.apart for p in table if p.labels["nodes"] == 1} == {None}
    doubted = [p for p in comparison.points if p.labels["family"] == "a40_pairwise_nvlink"]
    assert all(p.apart for p in doubted)


def test_a_row_of_a_table_is_the_group_on_its_node(tmp_path: Path) -> None:
    file = tmp_path / "sweep.csv"
    file.write_text(
        "node,collective,ranks,ranks_per_node,bytes,time_us\n"
        "h100_dgx,all_reduce,8,8,16777216,90\nh100_dgx,all_reduce,16,8,16777216,300\n"
    )
    points = compare_collectives([file]).points
    assert points[0].predicted_s == pytest.approx(expected("h100-superpod", 8, 16 * MIB))
    assert points[1].predicted_s == pytest.approx(expected("h100-superpod", 16, 16 * MIB))
    assert points[0].half_width_s == 0.5e-6


def test_kernels_of_a_table_follow_one_another_no_faster_than_the_host_issues_them(tmp_path: Path) -> None:
    """NVIDIA/nccl src/graph/tuning.cc: a ring of two with LL starts in 6.6 us and hops twice in 0.6, far less than 30 us."""
    file = tmp_path / "sweep.csv"
    file.write_text(
        "node,collective,ranks,ranks_per_node,bytes,time_us\n"
        "h100_dgx,all_reduce,2,2,10240,7\nh100_dgx,all_reduce,2,2,20480,11\nh100_dgx,send_recv,2,2,10240,6\n"
        "h100_dgx,all_reduce,2,2,16777216,74\n"
    )
    small, next_one, sent, large = (p.predicted_s or 0.0 for p in compare_collectives([file]).points)
    assert small == next_one == pytest.approx(30e-6)
    assert sent < 10e-6
    assert large > 30e-6
    assert large == pytest.approx(expected("h100-superpod", 2, 16 * MIB))


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("a100_dgx,all_reduced,8,8,8,9", "collective"),
        ("a100_box,all_reduce,8,8,8,9", "node"),
        ("a100_dgx,all_reduce,8,3,8,9", "ranks_per_node"),
        ("a100_dgx,all_reduce,32,16,8,9", "ranks_per_node"),
        ("a100_dgx,all_reduce,8,8,8,-9", "time_us"),
    ],
)
def test_faults_of_tables(tmp_path: Path, row: str, field: str) -> None:
    file = tmp_path / "sweep.csv"
    file.write_text(f"node,collective,ranks,ranks_per_node,bytes,time_us\n{row}\n")
    with pytest.raises(PlannerError) as caught:
        compare_collectives([file])
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(file), 2, field)


def test_a_table_of_kernels_is_no_table_of_collectives(root: Path) -> None:
    with pytest.raises(PlannerError, match="accepted: node,collective"):
        compare_collectives([root / "tests" / "data" / "kernels_gemm_fp16.csv"])


@pytest.mark.parametrize(("band", "bound"), [(">= 64 MiB", 0.08), ("1-64 MiB", 0.12), ("< 1 MiB", 0.45)])
def test_the_sample_is_near_the_model(root: Path, sample: Comparison, band: str, bound: float) -> None:
    """Hardware constants only: nothing here is fitted to a sweep."""
    file = root / "tests" / "data" / "kernels_collectives_nvlink.csv"
    table = compare_collectives([file], calibrated=False)
    errors = [
        abs(point.error_beyond or 0.0)
        for point in (*sample.points, *table.points)
        if point.labels["band"] == band and point.apart is None
    ]
    assert float(np.median(errors)) < bound
