"""Every catalogue entry loads, and its figures are those the vendors print."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.accelerators import load_priors
from planner.hardware.loader import (
    list_accelerators,
    list_clusters,
    list_networks,
    load_accelerator,
    load_cluster,
    load_network_kind,
)

# Names that jobs and published rows use.
# fmt: off
ACCELERATORS = [
    "a100-sxm-40gb", "a100-sxm-80gb", "a800-sxm-80gb", "h100-sxm-80gb", "h100-sxm-96gb-hbm2e-500w",
    "h200-sxm-141gb", "h800-sxm-80gb", "gh200", "b200-sxm", "b300-sxm", "gb200-nvl72", "gb300-nvl72",
    "v100-sxm-16gb", "v100-sxm-32gb", "mi250x", "mi300x", "mi325x", "mi355x", "ascend-910a", "ascend-910b",
    "ascend-910c", "gaudi2", "gaudi3", "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7",
    "trainium1", "trainium2", "p100-sxm-16gb", "rtx-4090", "rtx-5090", "l40s", "a10g", "h20",
    "h100-pcie-80gb", "a40", "cpu",
]
# fmt: on
# fmt: off
CLUSTERS = [
    "a100-superpod", "h100-superpod", "h800-cluster", "b200-superpod", "gb200-nvl72", "frontier",
    "mi300x-cluster", "ascend-910b-atlas", "cloudmatrix-384", "tpu-v4-pod", "tpu-v5p-pod", "gaudi2-cluster",
    "v100-dgx2", "p100-cluster", "rtx4090-node", "l40s-internet", "cpu-loopback", "a800-cluster",
]
# fmt: on
# Dense TFLOP/s, GB and GB/s of the vendors' data sheets.
SHEETS = [
    ("p100-sxm-16gb", "fp16", 21.2, 16, 732),
    ("v100-sxm-32gb", "fp16", 125, 32, 900),
    ("a100-sxm-40gb", "bf16", 312, 40, 1555),
    ("a100-sxm-80gb", "bf16", 312, 80, 2039),
    ("a100-sxm-80gb", "tf32", 156, 80, 2039),
    ("h100-sxm-80gb", "bf16", 989, 80, 3350),
    ("h100-sxm-80gb", "fp8", 1979, 80, 3350),
    ("h100-pcie-80gb", "bf16", 756, 80, 2000),
    ("h200-sxm-141gb", "bf16", 989, 141, 4800),
    ("h20", "bf16", 148, 96, 4000),
    ("b200-sxm", "bf16", 2250, 180, 8000),
    ("gb200-nvl72", "fp8", 5000, 186, 8000),
    ("gb200-nvl72", "nvfp4", 10000, 186, 8000),
    ("l40s", "bf16", 362, 48, 864),
    ("rtx-4090", "bf16", 165.2, 24, 1008),
    ("a40", "fp16", 149.7, 48, 696),
    ("mi250x", "bf16", 191.5, 64, 1638),
    ("mi300x", "bf16", 1307, 192, 5300),
    ("mi300x", "fp8", 2615, 192, 5300),
    ("mi355x", "bf16", 2500, 288, 8000),
    ("gaudi2", "bf16", 432, 96, 2460),
    ("tpu-v4", "bf16", 275, 32, 1200),
    ("tpu-v5e", "bf16", 197, 16, 819),
    ("tpu-v5p", "bf16", 459, 95, 2765),
    ("tpu-v6e", "bf16", 918, 32, 1640),
    ("trainium2", "bf16", 667, 96, 2900),
]
# GB/s per device and direction: links x rate per link, network ports / 8 bits.
LINKS = [
    ("nvlink1", 4 * 20),
    ("nvlink2", 6 * 25),
    ("nvlink3", 12 * 25),
    ("nvlink4", 18 * 25),
    ("nvlink5", 18 * 50),
    ("xgmi-mi300x", 7 * 64),
    ("hccs-910b", 7 * 28),
    ("gaudi2-mesh", 21 * 100 / 8),
    ("infiniband-hdr", 200 / 8),
    ("infiniband-ndr", 400 / 8),
    ("ethernet-10", 10 / 8),
    ("ethernet-100", 100 / 8),
    ("efa-400", 3200 / 8 / 8),
    ("slingshot-11", 4 * 200 / 8 / 8),
    ("tpu-ici-v4", 6 * 45),
]


@pytest.mark.parametrize("name", sorted({*ACCELERATORS, *list_accelerators()}))
def test_accelerator_loads_with_a_source_for_every_figure(name: str) -> None:
    accelerator = load_accelerator(name)
    assert accelerator.name == name
    stated = [f"peak_flops.{precision}" for precision in accelerator.peak_flops] + [
        "memory_bytes",
        "memory_bandwidth",
    ]
    stated += ["power_w"] if accelerator.power_w is not None else []
    stated += [f"kernels.matmul_efficiency.{precision}" for precision in accelerator.peak_flops]
    for figure in stated:
        evidence = accelerator.evidence[figure]
        assert len(evidence.source) > 10, figure
        assert evidence.grade in "ABC"
    assert set(accelerator.kernels.matmul_efficiency) == set(accelerator.peak_flops)
    assert all(0 < fraction <= 1 for fraction in accelerator.kernels.matmul_efficiency.values())
    assert {"flash2", "unfused", "cudnn"} <= set(accelerator.kernels.attention_forward)
    assert set(accelerator.kernels.attention_backward) == set(accelerator.kernels.attention_forward)


@pytest.mark.parametrize(("name", "precision", "tflops", "gigabytes", "gigabytes_per_s"), SHEETS)
def test_figures_are_those_of_the_data_sheets(
    name: str, precision: str, tflops: float, gigabytes: float, gigabytes_per_s: float
) -> None:
    accelerator = load_accelerator(name)
    assert accelerator.peak_flops[precision] == pytest.approx(tflops * 1e12)
    # sheets say GB for what is built of GiB; the driver keeps a part, and what it leaves is what a program can have
    assert gigabytes * 1e9 <= accelerator.memory_bytes <= gigabytes * 2**30 * 1.01
    assert accelerator.memory_bandwidth == pytest.approx(gigabytes_per_s * 1e9)


def test_old_accelerators_have_no_low_precision() -> None:
    for name in (
        "p100-sxm-16gb",
        "v100-sxm-16gb",
        "a100-sxm-40gb",
        "a100-sxm-80gb",
        "a800-sxm-80gb",
        "a10g",
        "a40",
    ):
        peaks = set(load_accelerator(name).peak_flops)
        assert not peaks & {"fp8", "mxfp8", "nvfp4"}, name
    for name in ("p100-sxm-16gb", "v100-sxm-16gb", "v100-sxm-32gb", "ascend-910a"):
        assert "bf16" not in load_accelerator(name).peak_flops
    assert "mxfp8" not in load_accelerator("h100-sxm-80gb").peak_flops


def test_cut_parts_equal_their_originals_in_compute() -> None:
    for cut, original in (("a800-sxm-80gb", "a100-sxm-80gb"), ("h800-sxm-80gb", "h100-sxm-80gb")):
        assert load_accelerator(cut).peak_flops == load_accelerator(original).peak_flops


def test_unknown_stays_unknown() -> None:
    assert load_accelerator("tpu-v7").power_w is None
    assert "int8" not in load_accelerator("b300-sxm").peak_flops
    assert load_cluster("cloudmatrix-384").host.memory_bytes is None


def test_the_most_special_prior_wins() -> None:
    default = load_priors().defaults.matmul_efficiency["bf16"].value
    assert load_accelerator("a100-sxm-80gb").kernels.matmul_efficiency["bf16"] == default
    by_architecture = load_accelerator("mi300x").kernels
    assert by_architecture.matmul_efficiency["bf16"] == pytest.approx(0.514 * 0.78 / 0.803, abs=0.005)
    own = load_accelerator("mi325x").kernels
    assert own.matmul_efficiency["bf16"] == pytest.approx(0.604 * 0.78 / 0.803, abs=0.005)
    assert own.memory_efficiency == by_architecture.memory_efficiency


@pytest.mark.parametrize("name", list_networks())
def test_network_kind_loads_with_sources(name: str) -> None:
    kind = load_network_kind(name)
    assert kind.name == name
    for figure in (kind.bandwidth, kind.latency, kind.efficiency):
        assert figure is not None
        assert figure.value
        assert figure.source in kind.sources
    if kind.fabric == "full_mesh" and kind.per_flow_bandwidth and name != "xgmi-mi250x-node":
        links = kind.bandwidth.value / kind.per_flow_bandwidth.value  # type: ignore[union-attr, operator]
        assert links == pytest.approx(round(links))


@pytest.mark.parametrize(("name", "gigabytes_per_s"), LINKS)
def test_link_rates(name: str, gigabytes_per_s: float) -> None:
    bandwidth = load_network_kind(name).bandwidth
    assert bandwidth is not None
    assert bandwidth.value == pytest.approx(gigabytes_per_s * 1e9)


@pytest.mark.parametrize("name", sorted({*CLUSTERS, *list_clusters()}))
def test_cluster_loads(name: str) -> None:
    cluster = load_cluster(name)
    assert cluster.name == name
    assert cluster.devices == cluster.nodes * cluster.devices_per_node == cluster.network[-1].size
    for inner, outer in zip(cluster.network, cluster.network[1:], strict=False):
        assert outer.size % inner.size == 0
    for level in cluster.network:
        assert level.kind in list_networks()
        assert f"network[{level.name}].bandwidth" in cluster.evidence
    for figure in ("memory_bytes", "link_bandwidth", "nvme_bytes", "nvme_read", "nvme_write"):
        assert (getattr(cluster.host, figure) is None) == (f"host.{figure}" not in cluster.evidence)


def test_reference_clusters() -> None:
    a100, h100 = load_cluster("a100-superpod"), load_cluster("h100-superpod")
    assert (a100.devices_per_node, a100.network[-1].bandwidth) == (8, 25e9)
    assert (h100.devices_per_node, h100.network[-1].bandwidth) == (8, 50e9)
    assert min(a100.devices, h100.devices) >= 4096
    assert a100.host.shared_by == 2
    assert load_cluster("a800-cluster").host.memory_bytes == 2e12
    assert load_cluster("frontier").devices == 9408 * 8
    assert [level.size for level in load_cluster("frontier").network][:2] == [2, 8]
    assert load_cluster("ascend-910b-atlas").devices >= 6144
    assert load_cluster("gb200-nvl72").network[0].size == 72
    assert load_cluster("cloudmatrix-384").network[1].size == 2 * 384
    assert load_cluster("tpu-v4-pod").network[0].shape == (16, 16, 16)
    assert load_cluster("tpu-v5p-pod").devices == 8960
    assert load_cluster("l40s-internet").devices == 16
    assert load_cluster("cpu-loopback").devices == 2


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(PlannerError, match="did you mean 'h100-sxm-80gb'"):
        load_accelerator("h100-sxm-80g")
    with pytest.raises(PlannerError, match="did you mean 'h100-superpod'"):
        load_cluster("h100-superpad")
    with pytest.raises(PlannerError, match="did you mean 'infiniband-ndr'"):
        load_network_kind("infiniband-ndx")


@pytest.mark.parametrize(
    "name", ["../priors", "", "A100-SXM-80GB", "a" * 10_000, "x\x00y", "x\ny", "~nobody/x"]
)
def test_names_cannot_leave_the_catalogue(name: str) -> None:
    with pytest.raises(PlannerError, match="unknown accelerator"):
        catalogue.find(catalogue.ACCELERATORS, name)
    with pytest.raises(PlannerError) as caught:
        load_cluster(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_catalogue_is_found_inside_an_installed_package(root: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(root / "planner", site / "planner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "hardware_specs", site / "planner" / "_data" / "hardware_specs")
    code = "from planner.hardware.loader import load_cluster as l; from planner.hardware.catalogue import specs_root as r"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; print(l('h100-superpod').devices, r())"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    devices, folder = run.stdout.split(maxsplit=1)
    assert int(devices) >= 4096
    assert Path(folder.strip()) == site / "planner" / "_data" / "hardware_specs"
