"""Replicas over flat buckets: two gloo processes against one, in 64 bits."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from planner.errors import PlannerError
from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout, Shard
from planner.models.spec import ModelSpec
from planner.validation.trainer.data.flat import FlatReplicas
from planner.validation.trainer.groups import make_groups, single_process
from planner.validation.trainer.optimizer import FlatAdamW
from planner.validation.trainer.settings import Settings

SAMPLES, WIDTH, STEPS = 4, 5, 3


def _settings(dp: int, shards: int, bucket_bytes: float = 0.0) -> Settings:
    spec = ModelSpec(layers=1, hidden=8, heads=2, ffn_hidden=8, vocab=16)
    layout = Layout(dp=dp, shard=Shard(optimizer=shards), micro_batches=SAMPLES // dp)
    framework = load_framework("megatron-core")
    return Settings(spec, layout, framework, 8, SAMPLES, double=True, bucket_bytes=bucket_bytes)


def _train(settings: Settings, rank: int) -> dict[str, Tensor]:
    """Weights after three steps over the rank's samples, one micro-batch each; an odd count of weights needs padding."""
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)).double()
    samples = torch.randn(STEPS, SAMPLES, WIDTH, dtype=torch.float64)
    groups = make_groups(settings, rank) if settings.world_size > 1 else single_process()
    replicas = FlatReplicas([stage], settings, groups)
    optimizer = FlatAdamW(replicas, settings)
    for step in samples:
        for sample in step.chunk(settings.layout.dp)[rank]:
            (stage(sample).square().sum() / SAMPLES).backward()
        replicas.finish()
        optimizer.step()
        optimizer.zero_grad()
    return {name: parameter.detach().clone() for name, parameter in stage.named_parameters()}


def _work(rank: int, port: int, settings: Settings, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=settings.world_size,
        timeout=timedelta(seconds=30),
    )
    torch.save(_train(settings, rank), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(("shards", "bucket_bytes"), [(1, 0.0), (2, 0.0), (2, 64.0)])
def test_two_replicas_train_like_one_process(
    shards: int, bucket_bytes: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    expected = _train(_settings(1, 1), 0)
    arguments = (_free_port(), _settings(2, shards, bucket_bytes), str(tmp_path))
    multiprocessing.spawn(_work, arguments, nprocs=2)  # type: ignore[no-untyped-call]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_buckets_close_at_their_size_and_never_cut_a_parameter() -> None:
    stage = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)).double()
    settings = _settings(1, 1, bucket_bytes=64.0)
    sizes = [bucket.gradients.numel() for bucket in FlatReplicas([stage], settings, single_process()).buckets]
    # backward order: bias 1 + weight 5 = 48 bytes, + bias 5 = 88; weight 25 = 200 bytes
    assert sizes == [11, 25]


def test_sharded_gradients_are_refused() -> None:
    settings = _settings(1, 1)
    layout = Layout(dp=2, shard=Shard(gradients=2, optimizer=2))
    with pytest.raises(PlannerError, match="ZeRO stage 0 or 1"):
        FlatReplicas([nn.Linear(2, 2)], replace(settings, layout=layout), single_process())
