"""A pipeline stage under PyTorch's runtime that holds no more memory than Megatron-LM's.

PyTorch's own stage has buffers for the messages of all micro-batches from the first step on, keeps what it has sent until the
backward pass, and keeps all that was saved until a split backward's weight pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining._utils import _make_tensor_from_meta
from torch.distributed.pipelining.schedules import _batch_p2p, _wait_batch_p2p

from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.put_off import PutOff
from planner.validation.trainer.phases import phase


class Stage(PipelineStage):
    """A stage that makes buffers when messages come and lets go of results when they are sent.

    It posts its messages itself, gradients as part of the backward pass that made them.

    Args:
        module: the stage's part of the model; index, count: its place among the virtual stages.
        device: of the messages. takes, gives: examples of its input and output.
        group: of the pipeline ranks.
        puts_off: whether weight gradients of its linear layers wait for weight passes.
    """

    def __init__(
        self,
        module: nn.Module,
        index: int,
        count: int,
        device: torch.device,
        takes: Tensor,
        gives: Tensor,
        group: dist.ProcessGroup,
        *,
        puts_off: bool,
    ) -> None:
        later = _puts_off(module) if puts_off else None
        builder = None if later is None else later.take
        super().__init__(module, index, count, device, takes, gives, group=group, dw_builder=builder)
        self._posted: list[tuple[list[Any], Tensor | None]] = []

    def drop_buffers(self) -> None:
        """Let go of the buffers that PyTorch made for every micro-batch."""
        for infos in (*self.args_recv_info.values(), *self.grad_recv_info.values()):
            _drop(infos)

    def wait(self) -> None:
        """Until everything posted is sent."""
        while self._posted:
            works, sent = self._posted.pop()
            _wait_batch_p2p(works)
            _free(sent)

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **options: Any) -> Any:
        """The loss is all that the last stage's backward needs of its result."""
        self._let_go()
        output = super().forward_one_chunk(fwd_chunk_id, *args, **options)
        if self.is_last:
            self.fwd_cache[fwd_chunk_id] = ((), self.fwd_cache[fwd_chunk_id][1])
        return output

    def backward_one_chunk(self, *args: Any, **options: Any) -> None:
        self._let_go()
        super().backward_one_chunk(*args, **options)

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[Any]:
        _make(self.args_recv_info[fwd_chunk_id], self.device)
        return super().get_fwd_recv_ops(fwd_chunk_id)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[Any]:
        _make(self.grad_recv_info[bwd_chunk_id], self.device)
        return super().get_bwd_recv_ops(bwd_chunk_id)

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> list[Any]:
        works = _batch_p2p(super().get_fwd_send_ops(fwd_chunk_id))
        (result,) = self.fwd_cache[fwd_chunk_id][0]
        self._posted.append((works, result))
        self._let_go()
        return []

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> list[Any]:
        with phase("backward"):
            self._posted.append((_batch_p2p(super().get_bwd_send_ops(bwd_chunk_id)), None))
        self._let_go()
        return []

    def _retrieve_recv_activations(self, fwd_chunk_id: int) -> Any:
        found = super()._retrieve_recv_activations(fwd_chunk_id)
        _drop(self.args_recv_info[fwd_chunk_id])
        return found

    def _retrieve_recv_grads(self, bwd_chunk_id: int) -> Any:
        found = super()._retrieve_recv_grads(bwd_chunk_id)
        _drop(self.grad_recv_info[bwd_chunk_id])
        return found

    def _let_go(self) -> None:
        """What is sent by now; a fake group sends at once."""
        at_once = dist.get_backend(self.group) == "fake"
        waiting = []
        for works, sent in self._posted:
            if at_once or all(work.is_completed() for work in works):
                _wait_batch_p2p(works)
                _free(sent)
            else:
                waiting.append((works, sent))
        self._posted = waiting


def _puts_off(module: nn.Module) -> PutOff:
    later = PutOff()
    for linear in module.modules():
        if isinstance(linear, Linear):
            linear.later = later
    return later


def _make(infos: Iterable[Any], device: torch.device) -> None:
    for info in infos:
        meta = info.tensor_meta
        if not info.is_root_arg and meta is not None:
            info.buffer = _make_tensor_from_meta(meta, device)


def _drop(infos: Iterable[Any]) -> None:
    for info in infos:
        info.buffer = None


def _free(sent: Tensor | None) -> None:
    """Its storage: autograd needs of a stage's result, which is a sum, only the shape (Megatron-LM, core/pipeline_parallel,
    ``deallocate_output_tensor``)."""
    if sent is not None and sent.grad_fn is not None and not sent._is_view():
        sent.untyped_storage().resize_(0)
