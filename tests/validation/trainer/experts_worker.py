"""A worker for tests: layers and whole models with experts over several processes against the same on one, in 64 bits.

Rank 0 prints a line of JSON per case: its name, the largest difference over the largest value (of results and gradients),
and its collectives over ep and etp.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed, nn

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout
from planner.models.parts import Moe as MoeSpec
from planner.models.spec import ModelSpec
from planner.validation.processes.worker import joined, run_worker
from planner.validation.structure.calls import CallCounter
from planner.validation.trainer.batches import micro_batches
from planner.validation.trainer.cuts import assemble, owned_parameters, piece
from planner.validation.trainer.groups import Groups, make_groups, single_process
from planner.validation.trainer.initial import fill
from planner.validation.trainer.model.moe import Moe
from planner.validation.trainer.model.stage import Stage, whole_model
from planner.validation.trainer.settings import Settings

SAMPLES, TOKENS, HIDDEN = 4, 8, 16
Results = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A layout with what is special about its experts; ``model``: all of a model instead of one layer."""

    layout: Mapping[str, Any]
    moe: Mapping[str, Any]
    routing: str = "learned"
    model: bool = False


CASES: Mapping[int, Mapping[str, Case]] = {
    2: {
        "ep over dp": Case({"dp": 2, "ep": 2}, {"shared_experts": 1, "shared_gate": True}),
        "etp over tp": Case({"tp": 2, "sp": True, "etp": 2}, {}),
        "model, ep over dp": Case({"dp": 2, "ep": 2}, {"shared_experts": 1}, model=True),
    },
    4: {
        "ep 4 over dp": Case({"dp": 4, "ep": 4}, {"score": "sigmoid"}),
        "ep 2 x etp 2": Case({"tp": 2, "sp": True, "dp": 2, "ep": 2, "etp": 2}, {"topk": 3}),
        "balanced": Case({"tp": 2, "sp": True, "dp": 2, "ep": 2, "etp": 2}, {}, routing="balanced"),
        "ep 4 over tp x dp": Case({"tp": 2, "sp": True, "dp": 2, "ep": 4}, {"shared_experts": 2}),
        "ep 2 x edp 2 over cp x dp": Case({"ring": 2, "dp": 2, "ep": 2}, {}),
        "model, ep 4 over dp": Case({"dp": 4, "ep": 4}, {}, model=True),
        "model, ep 2 over tp": Case({"tp": 2, "sp": True, "dp": 2, "ep": 2}, {}, model=True),
    },
}
"""By number of processes."""


def settings_of(case: Case) -> Settings:
    """The run of a case."""
    moe = MoeSpec(**({"experts": 4, "topk": 2, "moe_ffn": 8, "dense_layers": 1} | dict(case.moe)))
    spec = ModelSpec(
        layers=2, hidden=HIDDEN, heads=4, ffn_hidden=24, vocab=32, seq_len=TOKENS, gated_mlp=True, moe=moe
    )
    layout = Layout(**case.layout, micro_batch=SAMPLES // case.layout.get("dp", 1))
    framework = load_framework("megatron-core")
    return Settings(spec, layout, framework, TOKENS, SAMPLES, double=True, routing=case.routing)  # type: ignore[arg-type]


def alone(settings: Settings) -> Settings:
    """The same run on one process."""
    return replace(settings, layout=Layout(micro_batch=SAMPLES))


def layer(settings: Settings, groups: Groups) -> Results:
    """Output and gradients of one layer of experts for this rank's tokens."""
    generator = torch.Generator().manual_seed(5)
    shape = (SAMPLES, TOKENS, HIDDEN)
    x, direction = (
        share(torch.randn(shape, dtype=torch.float64, generator=generator), groups) for _ in range(2)
    )
    with torch.device("meta"):
        module = Moe(settings, groups, 1).double()
    module.to_empty(device="cpu")
    fill(module, groups, seed=1)
    result = module(x.requires_grad_())
    result.backward(direction)
    assert x.grad is not None
    return {"output": result.detach(), "input": x.grad} | gradients(module, groups)


def share(x: Tensor, groups: Groups) -> Tensor:
    """The rank's sequences, and its part of each."""
    for axis, dim in (("dp", 0), ("cp", 1), ("tp", 1)):
        x = x.chunk(groups.size(axis), dim)[groups.index(axis)]
    return x.contiguous()


def model(settings: Settings, groups: Groups) -> Results:
    """Loss of the rank's samples, summed over replicas, and gradients of a dense layer and one with experts."""
    stage: Stage = whole_model(settings, groups)
    stage.to_empty(device="cpu")
    fill(stage, groups, settings.seed)
    (batch,) = micro_batches(settings, groups, 0)
    loss = stage.loss(stage(batch.tokens), batch.labels)
    loss.backward()
    return {"loss": summed(loss.detach(), groups, "dp_cp")} | gradients(stage, groups)


def gradients(module: nn.Module, groups: Groups) -> Results:
    """Whole gradients by name: sums over what is partial and over replicas, put together from all ranks."""
    pieces = []
    for owned in owned_parameters(module):
        assert owned.parameter.grad is not None
        values = owned.parameter.grad.clone()
        for axis in filter(None, (owned.partial, owned.replicas)):
            values = summed(values, groups, axis)
        pieces.append(piece(owned.name, values, owned.cuts, groups))
    everywhere: list[Any] = [pieces]
    if len(groups.process_groups):
        everywhere = [None] * distributed.get_world_size()
        distributed.all_gather_object(everywhere, pieces)
    return assemble(item for part in everywhere for item in part)


def summed(values: Tensor, groups: Groups, axis: str) -> Tensor:
    """The sum over an axis."""
    if (group := groups.group(axis)) is not None:
        distributed.all_reduce(values, group=group)
    return values


def largest_difference(found: Results, expected: Results, groups: Groups) -> float:
    """Over the largest expected value of each tensor; activations are compared with the rank's share, over all ranks."""
    assert found.keys() == expected.keys()
    errors = []
    for name, value in expected.items():
        wanted = share(value, groups) if name in ("output", "input") else value
        errors.append((found[name] - wanted).abs().max() / value.abs().max())
    worst = torch.stack(errors).max()
    distributed.all_reduce(worst, distributed.ReduceOp.MAX)
    return float(worst)


def main(arguments: list[str]) -> None:
    with joined() as place:
        for name, case in CASES[place.world_size].items():
            run: Callable[[Settings, Groups], Results] = model if case.model else layer
            settings = settings_of(case)
            expected = run(alone(settings), single_process())
            groups = make_groups(settings, place.rank)
            with CallCounter(groups.axis_of) as counter:
                found = run(settings, groups)
            difference = largest_difference(found, expected, groups)
            calls = {
                f"{call.collective} {call.axis} {call.pass_} {call.nbytes}": count
                for call, count in counter.calls.items()
                if call.axis in ("ep", "etp")
            }
            if place.rank == 0:
                print(json.dumps([name, difference, calls]))  # noqa: T201


if __name__ == "__main__":
    run_worker(main)
