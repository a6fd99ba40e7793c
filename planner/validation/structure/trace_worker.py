"""One traced rank: ``python -m planner.validation.structure.trace_worker SETTINGS RANK FILE`` in a process of its own.

DTensor's caches and named process groups outlive a process group, so each layout needs a fresh process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.validation.processes.worker import run_worker
from planner.validation.structure.record import Holder, Trace, TracedCall
from planner.validation.trainer.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from planner.validation.structure.tracer import Tracer
    from planner.validation.trainer.step import Trainer

LARGEST = 20
"""How many holders of memory are reported."""


def main(arguments: list[str]) -> None:
    """Trace one rank and write its ``Trace`` as JSON.

    Args:
        arguments: file of the settings, global rank, file to write.
    """
    if len(arguments) != 3:
        raise PlannerError("accepted: SETTINGS RANK FILE", field="arguments")
    source, target = Path(arguments[0]), Path(arguments[2])
    settings = Settings.from_json(source.read_text(encoding="utf-8"), file=source)
    trace = traced(settings, int(arguments[1]))
    target.write_text(json.dumps(trace.to_json()), encoding="utf-8")


def traced(settings: Settings, rank: int) -> Trace:
    """The second optimizer step of a rank on fake tensors: the first one makes optimizer states and DTensor's caches.

    Modules are built and sharded on ``meta`` outside the fake mode, because device meshes hold real tensors.
    """
    from torch import distributed
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from planner.validation.structure.tracer import Tracer
    from planner.validation.trainer.build import blank
    from planner.validation.trainer.groups import make_groups
    from planner.validation.trainer.pipeline import stage_parts
    from planner.validation.trainer.step import Trainer

    started = time.perf_counter()
    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=settings.world_size)
    groups = make_groups(settings, rank)
    parts = blank(settings, groups, stage_parts(settings, groups.index("pp")))
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        trainer = Trainer(settings, groups, parts.materialise())
        tracer = Tracer(fake, groups.axis_of)
        with tracer, tracer.live.resizes(), tracer.without_shapes():
            tracer.live.classify(_weights(trainer), "parameters")
            trainer.step(0)
            tracer.live.classify(_gradients(trainer), "gradients")
            tracer.live.classify(trainer.optimizer.kept(), "optimizer")
            tracer.reset()
            trainer.step(1)
            return _record(tracer, trainer, time.perf_counter() - started)


def _record(tracer: Tracer, trainer: Trainer, seconds: float) -> Trace:
    live = tracer.live
    persistent = {
        "parameters": live.classify(_weights(trainer), "parameters"),
        "gradients": live.classify(_gradients(trainer), "gradients"),
        "optimizer": live.classify(trainer.optimizer.kept(), "optimizer"),
    }
    flops: Counter[str] = Counter()
    attention: Counter[str] = Counter()
    for (kind, pass_), count in tracer.flops.items():
        flops[pass_] += count
        attention[pass_] += count if kind == "attention" else 0
    calls = tuple(
        TracedCall(call.collective, call.axis, call.pass_, call.nbytes, count)
        for call, count in sorted(tracer.calls.items())
    )
    holders = tuple(Holder(*item) for item in live.largest(LARGEST))
    return Trace(
        dict(flops), calls, persistent, live.peak, live.by_class(), holders, seconds, dict(attention)
    )


def _weights(trainer: Trainer) -> list[Tensor]:
    from planner.validation.trainer.data.partial import local

    return [local(parameter.detach()) for module in trainer.modules for parameter in module.parameters()]


def _gradients(trainer: Trainer) -> list[Tensor]:
    return list(trainer.replicas.weight_gradients())


if __name__ == "__main__":
    run_worker(main)
