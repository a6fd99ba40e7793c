"""Default constants against published nccl-tests figures. Bounds say how far priors are trusted before a calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.collectives import Collective, busbw_factor, collective_cost
from planner.hardware import loader
from planner.hardware.types import Accelerator, Cluster, KernelConstants, NetworkLevel
from planner.layouts.mesh import spread

GIB = 2**30
MIB = 2**20
DEVICE = Accelerator("d", "v", "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}))

NVLINK4: dict[str, Any] = {"bandwidth": 450e9, "efficiency": 0.824, "in_network_reduction": True}
NVLINK5: dict[str, Any] = {
    "bandwidth": 900e9,
    "efficiency": 0.802,
    "in_network_reduction": True,
    "kind": "nvlink5",
}
NVLINK3: dict[str, Any] = {"bandwidth": 300e9, "efficiency": 0.80}
"""Wire rates of the vendor, and NCCL's own constants per link over the wire (20.6/25, 40.1/50, 20/25)."""


def load_cluster(name: str) -> Cluster:
    """A cluster of the catalogue with its priors, whatever was fitted since."""
    return loader.load_cluster(name, calibrated=False)


def nodes(
    inside: dict[str, Any], count: int, card: float, latency_s: float = 15e-6, **options: Any
) -> Cluster:
    """Nodes of eight with one network card per device; 0.97 of the wire is left by packet headers."""
    inner = NetworkLevel("nvlink", 8, latency_s=1e-6, **inside)
    outer = NetworkLevel("network", 8 * count, card, latency_s, fabric="fat_tree", efficiency=0.97, **options)
    return Cluster("c", DEVICE, count, 8, (inner, outer))


def busbw(
    network: Cluster,
    ranks: int,
    nbytes: float,
    collective: Collective = "all_reduce",
    algorithm: str = "auto",
) -> float:
    groups = spread(ranks, 1, network, devices=ranks)
    seconds = collective_cost(collective, nbytes, groups, network, algorithm=algorithm).seconds[0]
    return float(nbytes / seconds * busbw_factor(collective, ranks) / 1e9)


@pytest.mark.parametrize(
    ("cluster", "collective", "ranks", "nbytes", "algorithm", "published"),
    [
        # stas00/ml-engineering network/README.md (8 x A100; 8 x H200; 8 x B200; MI300X)
        ("a100-superpod", "all_reduce", 8, 16 * GIB, "auto", 234.89),
        ("h200-superpod", "all_reduce", 8, 16 * GIB, "ring", 367.2),
        ("h200-superpod", "all_gather", 8, 16 * GIB, "auto", 361.4),
        ("h200-superpod", "reduce_scatter", 8, 16 * GIB, "auto", 362.9),
        ("h200-superpod", "all_reduce", 8, 16 * GIB, "auto", 482.26),
        ("h200-superpod", "all_reduce", 4, 8 * GIB, "auto", 363.3),
        ("h200-superpod", "all_reduce", 5, 8 * GIB, "auto", 414.2),
        ("h200-superpod", "all_reduce", 6, 8 * GIB, "auto", 435.6),
        ("h200-superpod", "all_reduce", 7, 8 * GIB, "auto", 460.0),
        ("b200-superpod", "all_reduce", 8, 16 * GIB, "auto", 845.67),
        ("mi300x-cluster", "all_reduce", 2, 4 * GIB, "auto", 47.671),
        ("mi300x-cluster", "all_reduce", 8, 4 * GIB, "auto", 312.912),
    ],
)
def test_one_node_of_the_catalogue(
    cluster: str, collective: Collective, ranks: int, nbytes: float, algorithm: str, published: float
) -> None:
    found = busbw(load_cluster(cluster), ranks, nbytes, collective, algorithm)
    assert found == pytest.approx(published, rel=0.06)


@pytest.mark.parametrize(
    ("network", "ranks", "nbytes", "algorithm", "published", "bound"),
    [
        # stas00/ml-engineering network/README.md: EFA, 400 GB/s per node of eight
        (nodes(NVLINK5, 4, 50e9), 32, 16 * GIB, "auto", 381.8, 0.05),
        (nodes(NVLINK4, 4, 50e9), 32, 4 * GIB, "ring", 364.65, 0.08),
        (nodes(NVLINK4, 4, 50e9), 32, 4 * GIB, "in_network", 310.07, 0.03),
        # coreweave/nccl-tests README: 64 H100, InfiniBand with SHARP
        (nodes(NVLINK4, 8, 50e9, 4e-6, in_network_reduction=True), 64, 8 * GIB, "auto", 386.56, 0.07),
        # aws-samples/awsome-distributed-training: p4de (50 GB/s per node) and p5 (400), two nodes; p5en, sixteen
        (nodes(NVLINK3, 2, 6.25e9), 16, 16 * GIB, "auto", 78.3, 0.06),
        (nodes(NVLINK4, 2, 50e9), 16, 16 * GIB, "auto", 487.09, 0.04),
        (nodes(NVLINK4, 16, 50e9), 128, 16 * GIB, "auto", 369.86, 0.06),
        # NVIDIA/nccl-tests issue 119: 3 nodes, 4 x HDR, the peak of a sweep that ends at 128 MiB
        (nodes(NVLINK3, 3, 12.5e9, 4e-6), 24, 128 * MIB, "ring", 96.0, 0.18),
    ],
)
def test_several_nodes(
    network: Cluster, ranks: int, nbytes: float, algorithm: str, published: float, bound: float
) -> None:
    assert busbw(network, ranks, nbytes, algorithm=algorithm) == pytest.approx(published, rel=bound)


def test_a_pair_on_a_mesh_node_is_slower_than_all_eight() -> None:
    """MI300X: 47.7 GB/s on two GPUs, 312.9 on eight (stas00/ml-engineering); a switched node stays flat."""
    mesh, switched = load_cluster("mi300x-cluster"), load_cluster("a100-superpod")
    assert busbw(mesh, 8, 4 * GIB) > 5 * busbw(mesh, 2, 4 * GIB)
    assert busbw(switched, 8, 4 * GIB) == pytest.approx(busbw(switched, 2, 4 * GIB), rel=0.1)


def test_a_mesh_exchanges_directly_in_the_middle_sizes() -> None:
    """8 x MI300X, 8 MiB: 91.1 us by rccl-tests (crickett-hpe/hpc-ai-envs pull 30)."""
    assert 8 * MIB * 1.75 / busbw(load_cluster("mi300x-cluster"), 8, 8 * MIB) / 1e3 == pytest.approx(
        91.1, rel=0.1
    )


def test_all_to_all_over_many_nodes_nears_the_rate_of_one_card() -> None:
    """NVIDIA maintainers expect 48-49 GB/s per GPU at NDR (NVIDIA/nccl-tests issue 267)."""
    assert busbw(nodes(NVLINK4, 64, 50e9, 4e-6), 512, 8 * GIB, "all_to_all") == pytest.approx(48.5, rel=0.05)


def test_the_middle_sizes_of_a_node_are_within_a_quarter() -> None:
    """8 x H200, stas00/ml-engineering: algbw in GB/s from 2 to 512 MiB (a PyTorch benchmark: 15 us of host launch added)."""
    published = {
        2: 36.87,
        4: 61.23,
        8: 88.87,
        16: 125.65,
        32: 157.62,
        64: 198.01,
        128: 229.67,
        256: 249.23,
        512: 257.31,
    }
    nbytes = np.array([size * MIB for size in published])
    network = load_cluster("h200-superpod")
    groups = spread(np.full(len(published), 8), 1, network, devices=8)
    seconds = collective_cost("all_reduce", nbytes, groups, network).seconds + 15e-6
    error = nbytes / seconds / 1e9 / np.array(list(published.values())) - 1
    assert np.abs(error).max() < 0.25
    assert np.median(np.abs(error)) < 0.10
