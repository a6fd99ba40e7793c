"""Tensor parallelism by explicit collectives, as Megatron-LM does it (arXiv 1909.08053, 2205.05198)."""

from __future__ import annotations

from torch import Tensor
from torch.distributed import ProcessGroup

from planner.validation.trainer.exchange import collected, copied, gathered, scattered_sum, summed
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear, Table
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.cross_entropy import cross_entropy, loss_kernel
from planner.validation.trainer.tensor.regather import SEQUENCE, Regathered, regathering_linear
from planner.validation.trainer.tensor.vocabulary import partial_rows


class MegatronParallel:
    """See ``strategy.TensorParallel``; with ``sp`` the stream's tokens are cut over tp."""

    def __init__(self, settings: Settings, groups: Groups) -> None:
        group = groups.group("tp")
        assert group is not None
        self.group: ProcessGroup = group
        self.size = groups.size("tp")
        self.index = groups.index("tp")
        self.sp = settings.layout.sp
        self.regathers = settings.framework.regather_inputs
        self.vocabulary_cut = settings.loss.vocab_parallel
        self.kernel = loss_kernel(settings)
        self.axis: str | None = "tp"
        self.stream_axis: str | None = "tp" if self.sp else None

    def kv(self, heads: int) -> tuple[str, int]:
        """Fewer heads than ranks: each is held by several."""
        return ("tp", heads // self.size) if heads >= self.size else ("kv", 1)

    def stream_part(self, places: Tensor) -> Tensor:
        """The rank's share under sequence parallelism."""
        return places.chunk(self.size)[self.index] if self.sp else places

    def mark_row(self, linear: Linear) -> None:
        """A bias that is added behind the sum sees only the stream's tokens."""
        if self.sp:
            linear.partial = {"bias": "tp"}

    def columns(self, x: Tensor, *linears: Linear) -> tuple[Tensor, ...]:
        """One gather (or one f) serves all of them."""
        whole = self.shared(x)
        if not (self.sp and self.regathers):
            return tuple(linear(whole) for linear in linears)
        shared = Regathered(self.group, len(linears))
        return tuple(regathering_linear(whole, x, linear, shared) for linear in linears)

    def shared(self, x: Tensor) -> Tensor:
        """The whole stream; gradients of the ranks are summed."""
        return gathered(x, self.group, SEQUENCE) if self.sp else copied(x, self.group)

    def row(self, x: Tensor, linear: Linear) -> Tensor:
        """The sum over ranks, scattered along the sequence under sequence parallelism, then the bias."""
        stream = self._into_stream(linear.product(x))
        return stream if linear.bias is None else stream + linear.bias

    def lookup(self, tokens: Tensor, table: Table) -> Tensor:
        """Each rank looks up its rows."""
        return self._into_stream(partial_rows(tokens, table.weight, self.group))

    def _into_stream(self, partial: Tensor) -> Tensor:
        if self.sp:
            return scattered_sum(partial, self.group, SEQUENCE)
        return summed(partial, self.group)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """On cut logits, or on gathered ones when the job says so."""
        if not self.vocabulary_cut:
            return cross_entropy(collected(logits, self.group, logits.dim() - 1), labels, self.kernel)
        return cross_entropy(logits, labels, self.kernel, self.group)
