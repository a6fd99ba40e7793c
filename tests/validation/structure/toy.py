"""Two sharded linear layers on four fake ranks, traced; writes what was counted as JSON."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from planner.validation.structure.tracer import Tracer
from planner.validation.trainer.data.partial import local

RANKS, ROWS, WIDTH = 4, 16, 64


def main() -> None:
    """One forward and backward after a first one that is not counted."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2)))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        model.to_empty(device="cpu")
        batch = torch.empty(ROWS, WIDTH)
        tracer = Tracer(fake, lambda name: "dp")
        stored = tracer.live.classify([local(p.detach()) for p in model.parameters()], "parameters")
        with tracer, tracer.live.resizes():
            for _ in range(2):
                tracer.reset()
                model(batch).sum().backward()
                gradients = tracer.live.classify(
                    [local(p.grad) for p in model.parameters() if p.grad is not None], "gradients"
                )
                model.zero_grad()
    calls = {f"{c.collective} {c.axis} {c.pass_} {c.nbytes}": n for c, n in tracer.calls.items()}
    flops = {f"{kind} {part}": n for (kind, part), n in tracer.flops.items()}
    persistent = {"parameters": stored, "gradients": gradients}
    classes = tracer.live.by_class()
    sys.stdout.write(json.dumps([calls, flops, persistent, classes, tracer.live.peak]))


if __name__ == "__main__":
    main()
