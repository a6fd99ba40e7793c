"""Pipeline parallelism: a rank's stages under PyTorch's schedule runtime, in the order of the layout's schedule."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.pipelining._utils import InferenceMode
from torch.distributed.pipelining.schedules import (
    REDUCE_GRAD,
    _PipelineScheduleRuntime,
)

from planner.simulator.schedules.csv_file import write_schedule
from planner.simulator.schedules.of_layout import layout_schedule
from planner.simulator.schedules.schedule import Kind, Schedule
from planner.validation.trainer.batches import Batch
from planner.validation.trainer.phases import phase
from planner.validation.trainer.pipeline_stage import Stage
from planner.validation.trainer.settings import Settings


@dataclass(frozen=True)
class StagePart:
    """What a virtual stage holds of the model.

    Args:
        index: of the virtual stage. layers: its transformer layers.
        embedding, head: whether it takes tokens, whether it gives the loss.
    """

    index: int
    layers: range
    embedding: bool
    head: bool


def stage_parts(settings: Settings, pipeline_rank: int) -> list[StagePart]:
    """The virtual stages of a pipeline rank, in ascending order.

    Raises:
        PlannerError: the schedule cannot have the layout's shape.
    """
    layout = settings.layout
    if layout.pp == 1 and layout.vpp == 1:
        return [StagePart(0, range(settings.model.layers), True, True)]
    schedule = layout_schedule(layout)
    stages = schedule.stages
    counts = layout.layers_per_stage or (settings.model.layers // stages,) * stages
    starts = [sum(counts[:stage]) for stage in range(stages)]
    return [
        StagePart(stage, range(starts[stage], starts[stage] + counts[stage]), stage == 0, stage == stages - 1)
        for stage in range(stages)
        if schedule.rank_of[stage] == pipeline_rank
    ]


class Pipeline:
    """The stages of one pipeline rank, ready to run one step after the other.

    PyTorch's runtime reads the schedule from its CSV form, with our sends, receives, gathers and reductions in it.

    Args:
        settings: of the run.
        stages: virtual stage -> its module, of tokens or the stream, gives the stream or logits; the last one's
            ``loss(logits, labels)`` the loss of the micro-batch.
        hidden: an example of what passes between stages (any device; only its shape and dtype count).
        tokens: an example of what the first stage takes.
        group: of the pipeline ranks. on_last_pass: called with a virtual stage when its last backward pass is through.

    Raises:
        PlannerError: a schedule that PyTorch's runtime cannot express (two chains, slices of sequences).
    """

    def __init__(
        self,
        settings: Settings,
        stages: Mapping[int, nn.Module],
        hidden: Tensor,
        tokens: Tensor,
        group: ProcessGroup,
        on_last_pass: Any = None,
    ) -> None:
        schedule = layout_schedule(settings.layout)
        device, puts_off = torch.device(settings.device), _puts_off(settings, schedule)
        self._stages = [
            # inputs and outputs are stated, so that nothing needs to be tried out or sent to find them
            Stage(
                module,
                index,
                schedule.stages,
                device,
                tokens if index == 0 else hidden,
                hidden,
                group,
                puts_off=puts_off,
            )
            for index, module in stages.items()
        ]
        last = stages.get(schedule.stages - 1)
        self._runtime = _runtime(schedule, self._stages, None if last is None else last.loss)
        if on_last_pass is not None:
            self._runtime.register_custom_function(REDUCE_GRAD, _reduction(self._stages, on_last_pass))
        _prepare(self._runtime, self._stages)

    def run(self, batches: Sequence[Batch]) -> Tensor | None:
        """Forward and backward of all micro-batches of a step.

        Returns:
            The sum of the losses on the rank of the last stage, else None.
        """
        losses: list[Tensor] = []
        for stage in self._stages:
            stage.has_backward = True
            stage.clear_runtime_states()
        self._runtime._step_microbatches(
            [(batch.tokens,) for batch in batches],
            [{} for _ in batches],
            [batch.labels for batch in batches],
            losses,
            return_outputs=False,
        )
        for stage in self._stages:
            stage.wait()
        return torch.stack([loss.detach() for loss in losses]).sum() if losses else None


def _runtime(schedule: Schedule, stages: list[Stage], loss: Any) -> _PipelineScheduleRuntime:
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        file = Path(folder, "schedule.csv")
        write_schedule(file, schedule, comms=True)
        runtime = _PipelineScheduleRuntime(  # type: ignore[no-untyped-call]
            stages, schedule.micro_batches, loss_fn=loss or _no_loss, scale_grads=False
        )
        runtime._load_csv(str(file), format="compute_comms")
    return runtime


def _puts_off(settings: Settings, schedule: Schedule) -> bool:
    """Whether linear layers put weight gradients off themselves: under a schedule with weight passes. PyTorch's runtime
    splits the graph of DTensors, and of weights that fully_shard gathers.
    """
    shard = settings.layout.shard
    plain = settings.convention == "megatron" and shard.gradients == shard.parameters == 1
    return plain and any((actions.kind == Kind.W).any() for actions in schedule.actions)


def _no_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Stands for the loss on ranks without the last stage: the runtime takes a loss function for a backward pass."""
    return logits


def _prepare(runtime: _PipelineScheduleRuntime, stages: list[Stage]) -> None:
    """What the runtime's first step would do after a vote among the ranks on whether shapes are known: they are."""
    count = runtime._n_microbatches
    for stage in stages:
        stage.has_backward = True
        stage._inference_mode = InferenceMode.STATIC
        stage._prepare_forward_infra(count, None, None, has_backward=True)
        stage._prepare_backward_infra(count)
        stage._post_metadata_inference_cleanup()
        stage.drop_buffers()
    runtime._stages_forward_initialized = runtime._stages_backward_initialized = True


def _reduction(stages: list[Stage], on_last_pass: Any) -> Any:
    """PyTorch's own reduction of a stage (of FSDP), then the caller's."""

    def reduce(action: Any, context: Any) -> None:
        stage = next(stage for stage in stages if stage.stage_index == action.stage_index)
        with phase("backward"):
            stage.perform_reduce_grad(1)
        on_last_pass(action.stage_index)

    return reduce
