"""The examples in docs/file-formats.md are files that load."""

from __future__ import annotations

import re
from pathlib import Path

from planner.documents import load_text
from planner.hardware.loader import load_accelerator, load_cluster


def _example(root: Path, heading: str) -> str:
    text = (root / "docs" / "file-formats.md").read_text()
    section = text[text.index(f"\n## {heading}\n") :]
    match = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]


FIT = "name: mine\ndate: '2026-01-01'\ndata_sha256: '0'\nrows: 1\n"


def test_the_cluster_example(root: Path, tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").touch()
    (tmp_path / "fit.yaml").write_text(FIT)
    path = tmp_path / "cluster.yaml"
    path.write_text(_example(root, "Cluster"))
    cluster = load_cluster(str(path))
    assert cluster.name == "my-cluster"
    assert [level.bandwidth for level in cluster.network] == [450e9, 50e9]
    assert (cluster.host.shared_by, cluster.host.nvme_read) == (2, 50e9)


def test_the_accelerator_example(root: Path) -> None:
    accelerator = load_accelerator(load_text(_example(root, "Accelerator")).data)
    assert accelerator.peak_flops == {"bf16": 500e12, "fp32": 60e12}
    assert accelerator.kernels.matmul_efficiency == {"bf16": 0.75, "fp32": 0.8}
