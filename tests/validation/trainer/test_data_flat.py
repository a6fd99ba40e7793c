"""Flat buckets: where they close, what they hold, what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from planner.errors import PlannerError
from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout, Shard
from planner.models.spec import ModelSpec
from planner.validation.trainer.data.flat import FlatReplicas
from planner.validation.trainer.groups import single_process
from planner.validation.trainer.settings import Settings

WIDTH = 5


def _settings(shard: Shard | None = None) -> Settings:
    spec = ModelSpec(layers=1, hidden=8, heads=2, ffn_hidden=8, vocab=16)
    layout = Layout(dp=2, shard=shard or Shard())
    return Settings(spec, layout, load_framework("megatron-core"), 8, 2, double=True, bucket_bytes=32.0)


def _replicas(stage: nn.Module) -> FlatReplicas:
    replicas = FlatReplicas({0: stage}, _settings(), single_process())
    replicas.materialise("cpu")
    return replicas


def test_buckets_close_at_their_size_and_never_cut_a_parameter() -> None:
    stage = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)).double()
    sizes = [bucket.gradients.numel() for bucket in _replicas(stage).buckets]
    # 32 bytes of fp32 gradients are 8 elements; backward order: bias 1 + weight 5 = 6, + bias 5 = 11; weight 25
    assert sizes == [11, 25]


def test_gradients_of_micro_batches_add_up_in_the_bucket() -> None:
    stage = nn.Linear(WIDTH, 1, bias=False).double()
    replicas = _replicas(stage)
    for factor in (1.0, 2.0):
        stage(torch.full((1, WIDTH), factor, dtype=torch.float64)).sum().backward()
    assert stage.weight.grad is None
    assert replicas.gradient(stage.weight).tolist() == [[3.0] * WIDTH]


def test_gradients_that_no_hook_moved_are_collected() -> None:
    stage = nn.Linear(WIDTH, 1, bias=False).double()
    replicas = _replicas(stage)
    stage.weight.grad = torch.ones_like(stage.weight)
    replicas.collect(0)
    assert stage.weight.grad is None
    assert replicas.weight_gradients()[0].tolist() == [1.0] * WIDTH


def test_a_tied_parameter_stays_one() -> None:
    stage = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)).double()
    stage[1].weight = stage[0].weight
    replicas = _replicas(stage)
    assert stage[1].weight is stage[0].weight
    assert [weights.numel() for weights in replicas.weights()] == [WIDTH * WIDTH]


def test_sharded_gradients_are_refused() -> None:
    with pytest.raises(PlannerError, match="ZeRO stage 0 or 1"):
        FlatReplicas({0: nn.Linear(2, 2)}, _settings(Shard(gradients=2, optimizer=2)), single_process())
