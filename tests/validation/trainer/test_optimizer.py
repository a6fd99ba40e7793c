"""AdamW of a rank's weights, against its formula by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout
from planner.models.spec import ModelSpec
from planner.validation.trainer.data.flat import FlatReplicas
from planner.validation.trainer.groups import single_process
from planner.validation.trainer.optimizer import make_optimizer
from planner.validation.trainer.settings import Settings

RATE, DECAY = 1e-3, 0.1


def _settings(*, double: bool) -> Settings:
    spec = ModelSpec(layers=1, hidden=8, heads=2, ffn_hidden=8, vocab=16)
    return Settings(
        spec,
        Layout(),
        load_framework("megatron-core"),
        8,
        1,
        double=double,
        learning_rate=RATE,
        weight_decay=DECAY,
    )


def test_the_first_update_moves_by_the_rate_and_decays() -> None:
    stage = nn.Linear(3, 1, bias=False).double()
    nn.init.constant_(stage.weight, 2.0)
    settings = _settings(double=True)
    replicas = FlatReplicas({0: stage}, settings, single_process())
    replicas.materialise("cpu")
    optimizer = make_optimizer(replicas, settings)
    stage(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    replicas.finish()
    optimizer.step()
    # Loshchilov and Hutter, arXiv 1711.05101: after bias correction the first step is rate x sign(gradient)
    assert stage.weight.tolist() == [pytest.approx([2.0 * (1 - RATE * DECAY) - RATE] * 3, rel=1e-9)]
    optimizer.zero_grad()
    assert replicas.weight_gradients()[0].tolist() == [0.0] * 3


def test_a_master_copy_remembers_updates_below_the_weights_precision() -> None:
    stage = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(stage.weight, 1.0)
    settings = _settings(double=False)
    replicas = FlatReplicas({0: stage}, settings, single_process())
    replicas.materialise("cpu")
    optimizer = make_optimizer(replicas, settings)
    steps = 4
    for _ in range(steps):
        optimizer.zero_grad()
        stage(torch.ones(1, 1, dtype=torch.bfloat16)).sum().backward()
        replicas.finish()
        optimizer.step()
    # one update of 0.0011 rounds away in bf16 (spacing below 1: 2^-8 = 0.0039); four of them do not
    moved = 1.0
    for _ in range(steps):
        moved = moved * (1 - RATE * DECAY) - RATE
    assert stage.weight.item() == round(moved * 2**8) / 2**8 < 1.0
