"""Fixtures shared by all tests: folders, and jobs made of a small in-memory cluster and a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from planner.hardware.types import Accelerator, Cluster, Host, KernelConstants, NetworkLevel
from planner.jobs.framework import load_framework
from planner.jobs.types import Job, SearchOptions, Training
from planner.models.catalogue import load_model

ROOT = Path(__file__).resolve().parent.parent

# No test asserts a wall-clock time: a busy machine makes no example fail.
settings.register_profile("planner", deadline=None)
settings.load_profile("planner")


@pytest.fixture(autouse=True)
def piped_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as a pipe gets them, whatever terminal width the test runner tells its workers."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def examples(root: Path) -> Path:
    """Folder of the example jobs."""
    return root / "examples"


MakeJob = Callable[..., Job]


def _cluster(devices: int, per_node: int) -> Cluster:
    accelerator = Accelerator(
        name="test",
        vendor="test",
        architecture="test",
        peak_flops={"bf16": 3e14, "fp16": 3e14, "fp32": 2e13},
        memory_bytes=80e9,
        memory_bandwidth=2e12,
        kernels=KernelConstants(matmul_efficiency={"bf16": 0.78, "fp16": 0.78, "fp32": 0.8}),
    )
    inner = NetworkLevel(name="nvlink", size=per_node, bandwidth=300e9, latency_s=2e-6)
    outer = NetworkLevel(name="infiniband", size=devices, bandwidth=25e9, latency_s=5e-6)
    levels = (inner, outer) if devices > per_node else (inner,)
    host = Host(memory_bytes=2e12, link_bandwidth=25e9)
    return Cluster("test", accelerator, devices // per_node, per_node, levels, host)


@pytest.fixture(scope="session")
def make_job() -> MakeJob:
    """``make_job(model, devices, global_batch, seq_len, framework, per_node, training, **search options)``."""

    def make(
        model: str | dict[str, Any],
        devices: int = 8,
        global_batch: int = 64,
        seq_len: int = 2048,
        framework: str = "ideal",
        per_node: int = 8,
        training: dict[str, Any] | None = None,
        **search: Any,
    ) -> Job:
        _, graph = load_model(model)
        return Job(
            name="test",
            model=graph,
            cluster=_cluster(devices, min(devices, per_node)),
            training=Training(global_batch=global_batch, seq_len=seq_len, **(training or {})),
            framework=load_framework(framework),
            search=SearchOptions(**search),
        )

    return make
