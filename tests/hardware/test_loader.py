"""Cluster files of users: what they may leave out, and one clear line for each way they can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.documents import load_text
from planner.errors import PlannerError
from planner.hardware.loader import load_cluster

GOOD = """\
accelerator: h100-sxm-80gb
nodes: 4
devices_per_node: 8
network:
  - name: nvlink
    kind: nvlink4
    size: 8
  - name: fabric
    bandwidth: 200 Gb/s
    latency: 5 us
    oversubscription: 2
host:
  memory: 1 TB
  link: 63 GB/s
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_a_file_of_a_user(tmp_path: Path) -> None:
    cluster = load_cluster(str(_write(tmp_path, GOOD)))
    assert cluster.name == "cluster"
    assert cluster.devices == 32
    inner, outer = cluster.network
    assert (inner.bandwidth, inner.kind, inner.in_network_reduction) == (450e9, "nvlink4", False)
    assert (outer.bandwidth, outer.latency_s, outer.size, outer.oversubscription) == (25e9, 5e-6, 32, 2.0)
    assert outer.efficiency == 0.8
    assert outer.fabric == "switch"
    assert (cluster.host.memory_bytes, cluster.host.nvme_bytes, cluster.host.shared_by) == (1e12, None, 1)
    assert (cluster.price_per_device_hour, cluster.power_per_device_w, cluster.mtbf_s) == (None, None, None)


def test_a_level_may_restate_figures_of_its_kind(tmp_path: Path) -> None:
    text = GOOD.replace("size: 8", "size: 8\n    bandwidth: {value: 200 GB/s, source: my bench, grade: A}")
    cluster = load_cluster(str(_write(tmp_path, text)))
    assert cluster.network[0].bandwidth == 200e9
    assert cluster.network[0].latency_s == load_cluster("h800-cluster").network[0].latency_s
    assert cluster.evidence["network[nvlink].bandwidth"].source == "my bench"


def test_relative_paths_start_at_the_given_folder(tmp_path: Path) -> None:
    _write(tmp_path, GOOD)
    assert load_cluster("cluster.yaml", base=tmp_path).devices == 32


def test_optional_keys(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("0,1\n1,0\n")
    (tmp_path / "fit.yaml").write_text("name: mine\ndate: '2026-01-01'\ndata_sha256: '0'\nrows: 1\n")
    extra = "links: links.csv\ncalibration: fit.yaml\nmtbf: 50000 h\npower: 1.2 kW\nprice_per_device_hour: 2.5 USD/h\n"
    cluster = load_cluster(str(_write(tmp_path, GOOD + extra)))
    assert cluster.links == str(tmp_path / "links.csv")
    assert cluster.calibration == str(tmp_path / "fit.yaml")
    assert (cluster.mtbf_s, cluster.power_per_device_w, cluster.price_per_device_hour) == (1.8e8, 1200.0, 2.5)


def test_inline_mapping_with_an_inline_accelerator() -> None:
    accelerator = {
        "name": "mine",
        "peak_flops": {"bf16": "100 TFLOP/s"},
        "memory": "32 GB",
        "memory_bandwidth": "1 TB/s",
    }
    network = [{"name": "bus", "bandwidth": "10 GB/s", "latency": "3 us"}]
    cluster = load_cluster(
        {"accelerator": accelerator, "nodes": 1, "devices_per_node": 4, "network": network}
    )
    assert (cluster.name, cluster.accelerator.name, cluster.devices) == ("inline", "mine", 4)
    assert cluster.accelerator.kernels.matmul_efficiency == {"bf16": 0.78}


def test_inline_faults_name_the_line_of_the_job() -> None:
    job = load_text("model: x\ncluster:\n  accelerator: h100-sxm-80gb\n  nodes: -1\n", Path("job.yaml"))
    with pytest.raises(PlannerError) as caught:
        load_cluster(job.data["cluster"], document=job, at=("cluster",))
    assert (caught.value.file, caught.value.line, caught.value.field) == ("job.yaml", 4, "cluster.nodes")


def test_a_wrong_reference_names_the_line_of_the_job() -> None:
    job = load_text("model: x\ncluster: h100-superpodd\n", Path("job.yaml"))
    with pytest.raises(PlannerError, match="did you mean 'h100-superpod'") as caught:
        load_cluster(job.data["cluster"], document=job, at=("cluster",))
    assert (caught.value.line, caught.value.field) == (2, "cluster")


def test_groups_are_returned_only_when_asked_for(tmp_path: Path) -> None:
    text = "groups:\n  - h100-superpod\n  - " + GOOD.replace("\n", "\n    ").rstrip() + "\n"
    path = str(_write(tmp_path, text))
    with pytest.raises(PlannerError, match="heterogeneous"):
        load_cluster(path)
    cluster = load_cluster(path, allow_groups=True)
    assert [group.accelerator.name for group in cluster.groups] == ["h100-sxm-80gb"] * 2
    assert cluster.groups[1].devices == 32


TORUS = """\
accelerator: tpu-v4
nodes: 16
devices_per_node: 4
network:
  - {name: ici, kind: tpu-ici-v4, size: 64, shape: [4, 4, 4]}
"""
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _with(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new)


# text, line, field, part of the message
MALFORMED = {
    "wrong unit": (_with("200 Gb/s", "200 Gb"), 9, "network[1].bandwidth", "does not measure bytes/s"),
    "unknown unit": (_with("5 us", "5 moons"), 10, "network[1].latency", "unknown unit 'moons'"),
    "no number": (_with("1 TB", "plenty"), 13, "host.memory", "accepted: a quantity such as 80 GB"),
    "unknown key": (
        _with("devices_per_node", "devices_per_nod"),
        3,
        "devices_per_nod",
        "did you mean 'devices_per_node'",
    ),
    "unknown key in a level": (
        _with("latency:", "latnecy:"),
        10,
        "network[1].latnecy",
        "did you mean 'latency'",
    ),
    "unknown key in the host": (_with("  link:", "  lnik:"), 14, "host.lnik", "did you mean 'link'"),
    "negative": (_with("5 us", "-5 us"), 10, "network[1].latency", "cannot be negative"),
    "negative nodes": (_with("nodes: 4", "nodes: -4"), 2, "nodes", "cannot be negative"),
    "NaN": (_with("200 Gb/s", ".nan"), 9, "network[1].bandwidth", "not a finite number"),
    "infinite": (_with("200 Gb/s", ".inf"), 9, "network[1].bandwidth", "not a finite number"),
    "zero bandwidth": (_with("200 Gb/s", "0 Gb/s"), 9, "network[1].bandwidth", "greater than zero"),
    "absurd bandwidth": (_with("200 Gb/s", "1e30 GB/s"), 9, "network[1].bandwidth", "absurdly large"),
    "zero devices": (_with("devices_per_node: 8", "devices_per_node: 0"), 3, "devices_per_node", "from 1 to"),
    "half a node": (_with("nodes: 4", "nodes: 4.5"), 2, "nodes", "not a whole number"),
    "10^12 devices": (_with("nodes: 4", "nodes: 1000000000000"), 2, "nodes", "from 1 to 10,000,000"),
    "too many together": (_with("nodes: 4", "nodes: 9000000"), 2, "nodes", "72,000,000 devices"),
    "missing accelerator": (_with("accelerator: h100-sxm-80gb\n", ""), 1, "accelerator", "is missing"),
    "unknown accelerator": (
        _with("h100-sxm-80gb", "h100-sxm-80"),
        1,
        "accelerator",
        "did you mean 'h100-sxm-80gb'",
    ),
    "unknown kind": (_with("nvlink4", "nvlnk4"), 6, "network[0].kind", "did you mean 'nvlink4'"),
    "unknown fabric": (
        _with("kind: nvlink4", "kind: nvlink4\n    fabric: swich"),
        7,
        "network[0].fabric",
        "'switch'",
    ),
    "no levels": (
        _with(GOOD[GOOD.index("network:") : GOOD.index("host:")], "network: []\n"),
        4,
        "network",
        "at least 1",
    ),
    "levels no list": (
        _with("network:\n  - name: nvlink\n    kind: nvlink4\n    size: 8\n  - ", "network:\n    "),
        4,
        "network",
        "list",
    ),
    "a level is text": (
        _with("  - name: nvlink\n    kind: nvlink4\n    size: 8\n", "  - nvlink\n"),
        5,
        "network[0]",
        "a mapping",
    ),
    "sizes not multiples": (
        _with("size: 8", "size: 3"),
        8,
        "network[1].size",
        "a multiple of the inner level's size 3",
    ),
    "size missing inside": (_with("    size: 8\n", ""), 5, "network[0]", "lacks 'size'"),
    "size too large": (_with("size: 8", "size: 64"), 7, "network[0].size", "the cluster has 32 devices"),
    "last level too small": (
        _with("name: fabric", "name: fabric\n    size: 16"),
        9,
        "network[1].size",
        "joins all 32",
    ),
    "two levels of one name": (
        _with("name: fabric", "name: nvlink"),
        8,
        "network[1].name",
        "names two levels",
    ),
    "no bandwidth": (_with("    bandwidth: 200 Gb/s\n", ""), 8, "network[1].bandwidth", "is missing"),
    "flow above device": (
        _with("latency: 5 us", "latency: 5 us\n    per_flow_bandwidth: 900 GB/s"),
        11,
        "network[1].per_flow_bandwidth",
        "one flow",
    ),
    "oversubscription below one": (
        _with("ion: 2", "ion: 0.5"),
        11,
        "network[1].oversubscription",
        "from 1 to 1000",
    ),
    "efficiency above one": (
        _with("ion: 2", "ion: 2\n    efficiency: 1.2"),
        12,
        "network[1].efficiency",
        "from 0 to 1",
    ),
    "efficiency in percent above": (
        _with("ion: 2", "ion: 2\n    efficiency: 120%"),
        12,
        "network[1].efficiency",
        "from 0 to 1",
    ),
    "unshared link": (
        _with("63 GB/s", "63 GB/s\n  shared_by: 3"),
        15,
        "host.shared_by",
        "a divisor of devices_per_node = 8",
    ),
    "host is a number": (_with("host:\n  memory: 1 TB\n  link: 63 GB/s", "host: 5"), 12, "host", "a mapping"),
    "links file missing": (GOOD + "links: none.csv\n", 15, "links", "does not exist"),
    "calibration missing": (GOOD + "calibration: none.yaml\n", 15, "calibration", "does not exist"),
    "wrong grade": (
        _with("200 Gb/s", "{value: 200 Gb/s, grade: Z}"),
        9,
        "network[1].bandwidth.grade",
        "accepted: A, B, C",
    ),
    "shape mismatch": (_with("[4, 4, 4]", "[4, 4, 8]", TORUS), 5, "network[0].shape", "4 x 4 x 8 = 128"),
    "torus without shape": (
        _with(", shape: [4, 4, 4]", "", TORUS),
        5,
        "network[0].shape",
        "needs the extent",
    ),
    "shape of a switch": (
        _with("size: 8", "size: 8\n    shape: [2, 4]"),
        8,
        "network[0].shape",
        "belongs to the fabric torus",
    ),
    "zero extent": (_with("[4, 4, 4]", "[4, 0, 4]", TORUS), 5, "network[0].shape[1]", "from 1 to"),
    "groups of one": ("groups: [h100-superpod]\n", 1, "groups", "heterogeneous"),
    "duplicate key": (GOOD + "nodes: 8\n", 15, "nodes", "twice, first on line 2"),
    "cyclic": ("accelerator: &a\n  peak_flops: *a\n", 2, None, "cyclic"),
    "alias bomb": (BOMB, None, None, "too many values"),
    "list": ("- accelerator: h100-sxm-80gb\n", 1, None, "found a list"),
    "text": ("hello\n", 1, None, "a mapping of keys to values"),
    "empty": ("", None, None, "is empty"),
    "not YAML": ("nodes: [1\n", 2, None, "not valid YAML"),
    "python tag": ("nodes: !!python/name:os.system\n", 1, None, "tags"),
    "inline accelerator without memory": (
        _with("h100-sxm-80gb", "\n  name: x\n  peak_flops: {bf16: 1 TFLOP/s}"),
        1,
        "accelerator.memory",
        "is missing",
    ),
    "inline accelerator of unknown precision": (
        _with("h100-sxm-80gb", "\n  name: x\n  peak_flops: {bf61: 1 TFLOP/s}"),
        3,
        "accelerator.peak_flops.bf61",
        "'bf16'",
    ),
    "inline accelerator with unknown memory": (
        _with(
            "h100-sxm-80gb",
            "\n  name: x\n  peak_flops: {bf16: 1 TFLOP/s}\n  memory: {value: null}\n  memory_bandwidth: 1 TB/s",
        ),
        4,
        "accelerator.memory",
        "is unknown",
    ),
}


@pytest.mark.parametrize("case", list(MALFORMED))
def test_malformed_cluster_files(case: str, tmp_path: Path) -> None:
    text, line, field, reason = MALFORMED[case]
    path = _write(tmp_path, text)
    with pytest.raises(PlannerError) as caught:
        load_cluster(str(path))
    error = caught.value
    assert (error.file, error.line, error.field) == (str(path), line or error.line, field)
    assert reason in error.message
    assert error.exit_code == 2
    assert "\n" not in str(error)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\x7fELF\x00\x01")
    (tmp_path / "folder.yaml").mkdir()
    for name, reason in (
        ("missing.yaml", "does not exist"),
        ("binary.yaml", "binary"),
        ("folder.yaml", "a directory"),
    ):
        with pytest.raises(PlannerError, match=reason) as caught:
            load_cluster(str(tmp_path / name))
        assert caught.value.file == str(tmp_path / name)


@given(st.data())
def test_a_mutated_file_is_a_cluster_or_one_error(data: st.DataObject) -> None:
    lines = GOOD.splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    odd = st.sampled_from(
        ["", "-1", "0", "1e400", ".nan", "[]", "{}", "~", "9" * 30, "5 GB", "5 us", "a: b", "!x y"]
    )
    kept = lines[index].split(":")[0]
    lines[index] = data.draw(st.one_of(odd.map(lambda text: f"{kept}: {text}\n"), st.text(max_size=20)))
    try:
        document = load_text("".join(lines), Path("cluster.yaml"))
        cluster = load_cluster(document.data, document=document)
    except PlannerError as error:
        message = str(error)
    else:
        message = f"cluster.yaml: {cluster.devices}"
    assert message.startswith("cluster.yaml")
    assert "\n" not in message
