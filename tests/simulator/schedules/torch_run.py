"""One process of a pipeline that PyTorch runs from a schedule file: ``python torch_run.py RANK FILE FORMAT FOLDER``.

Writes the gradients of the rank's stages to FOLDER, and those that the whole model has without a pipeline.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _PipelineScheduleRuntime

from planner.simulator.schedules.csv_file import read_schedule

WIDTH = 4


def layer(index: int) -> nn.Module:
    """One stage's model, the same in every process."""
    torch.manual_seed(index)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((output - target) ** 2).mean()


def main(rank: int, path: str, form: str, folder: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    schedule = read_schedule(path)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=schedule.ranks
    )
    torch.manual_seed(1000)
    batch = 2 * schedule.micro_batches
    inputs, targets = torch.randn(batch, WIDTH), torch.randn(batch, WIDTH)
    mine = [stage for stage in range(schedule.stages) if schedule.rank_of[stage] == rank]
    stages = [
        PipelineStage(layer(index), index, schedule.stages, torch.device("cpu"), input_args=inputs[:2])
        for index in mine
    ]
    runtime = _PipelineScheduleRuntime(stages, schedule.micro_batches, loss_fn=loss)
    runtime._load_csv(path, format=form)
    arguments = (inputs,) if 0 in mine else ()
    runtime.step(*arguments, target=targets if schedule.stages - 1 in mine else None)
    gradients = {
        index: [parameter.grad for parameter in stage.submod.parameters()]
        for index, stage in zip(mine, stages, strict=True)
    }
    torch.save(gradients, folder / f"gradients-{rank}.pt")
    if rank == 0:
        torch.save(_whole(schedule.stages, inputs, targets), folder / "whole.pt")
    dist.destroy_process_group()


def _whole(stages: int, inputs: torch.Tensor, targets: torch.Tensor) -> dict[int, list[torch.Tensor | None]]:
    layers = [layer(index) for index in range(stages)]
    loss(nn.Sequential(*layers)(inputs), targets).backward()
    return {index: [parameter.grad for parameter in each.parameters()] for index, each in enumerate(layers)}


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
