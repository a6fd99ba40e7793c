"""Tensor parallelism by DTensor, as torchtitan applies it: a plan of styles by module name (torch.distributed.tensor.parallel).

The residual stream stays a plain tensor between modules, so that pipelines can send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.distributed.tensor.parallel.loss import _enable_custom_loss_ops
from torch.nn import functional

from planner.validation.trainer.exchange import copied, gathered
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.stage import Stage
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.regather import SEQUENCE
from planner.validation.trainer.tensor.strategy import Whole

Plan = dict[str, ParallelStyle]


@dataclass(frozen=True)
class DTensorParallel(Whole):
    """Modules are built whole; ``shard_tensors`` cuts them. Only what DTensor has no style for is explicit here."""

    group: ProcessGroup | None = None
    mesh: DeviceMesh | None = None
    place: int = 0
    ranks: int = 1
    vocabulary_cut: bool = True

    def stream_part(self, places: Tensor) -> Tensor:
        """The rank's share under sequence parallelism."""
        return places.chunk(self.ranks)[self.place] if self.stream_axis else places

    def shared(self, x: Tensor) -> Tensor:
        """The whole stream; gradients of the ranks are summed."""
        assert self.group is not None
        return gathered(x, self.group, SEQUENCE) if self.stream_axis else copied(x, self.group)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """On cut logits by PyTorch's ``loss_parallel``, or on gathered ones."""
        if not self.vocabulary_cut or self.mesh is None:
            return super().loss(logits, labels)
        cut = DTensor.from_local(logits.flatten(0, 1), self.mesh, [Shard(-1)], run_check=False)
        wide = cut.float() if logits.element_size() < 4 else cut
        total = functional.cross_entropy(wide, labels.flatten(), reduction="sum")
        assert isinstance(total, DTensor)
        return total.to_local()


def dtensor_parallel(settings: Settings, groups: Groups) -> DTensorParallel:
    """The strategy of a run under tp > 1."""
    return DTensorParallel(
        axis="tp",
        stream_axis="tp" if settings.layout.sp else None,
        group=groups.group("tp"),
        mesh=groups.mesh("tp"),
        place=groups.index("tp"),
        ranks=groups.size("tp"),
        vocabulary_cut=settings.loss.vocab_parallel,
    )


def shard_tensors(stage: Stage, settings: Settings, groups: Groups) -> None:
    """Cut the parameters of a stage over tp and hook the redistribution of activations into its modules.

    From then on, cross entropies of cut logits are ``loss_parallel``'s in this process: forward and backward run in places that
    no context encloses.
    """
    _enable_custom_loss_ops()  # type: ignore[no-untyped-call]
    plan: Plan = {}
    for index, layer in stage.layers.items():
        plan |= {f"layers.{index}.{name}": style for name, style in _layer(layer, settings).items()}
    if stage.embedding is not None:
        stream = _stream(settings)
        plan["embedding.tokens"] = RowwiseParallel(input_layouts=Replicate(), output_layouts=stream)
    if stage.head is not None:
        plan |= _head(settings)
    parallelize_module(stage, groups.mesh("tp"), plan)
    stage.tie()  # each style has made a parameter of its own
    for name in plan:
        _unmark(stage.get_submodule(name))


def _stream(settings: Settings) -> Shard | Replicate:
    return Shard(SEQUENCE) if settings.layout.sp else Replicate()


def _layer(layer: nn.Module, settings: Settings) -> Plan:
    plan: Plan = {}
    if settings.layout.sp:
        for name in ("attention_norm", "mlp_norm"):
            plan[name] = SequenceParallel(sequence_dim=SEQUENCE, use_local_output=True)
    names = dict(layer.named_modules())
    if settings.model.mla is None:
        plan |= _branch("attention", ("q", "k", "v"), "out", settings, arguments=2)
        for name in ("attention.q_norm", "attention.k_norm"):
            if name in names:  # over heads, which ranks share out
                plan[name] = SequenceParallel(sequence_dim=2, use_local_output=True)
    else:
        plan |= _latent(names, settings)
    for mlp in ("mlp", "moe.shared_experts"):
        if mlp in names:
            wide = tuple(name for name in ("gate", "up") if f"{mlp}.{name}" in names)
            plan |= _branch(mlp, wide, "down", settings, arguments=1)
    return plan


def _branch(name: str, wide: tuple[str, ...], narrow: str, settings: Settings, *, arguments: int) -> Plan:
    """Column-wise layers, a row-wise one behind them, and what brings the stream to the branch.

    Sequence parallelism gathers once for all column-wise layers. Without it each of them takes the replicated stream
    by itself, and sums its own gradient, unless the profile has one hook for all.
    """
    stream = _stream(settings)
    plan: Plan = {f"{name}.{linear}": ColwiseParallel() for linear in wide}
    plan[f"{name}.{narrow}"] = RowwiseParallel(output_layouts=stream)
    if settings.layout.sp or settings.framework.shared_input_hook:
        others = (None,) * (arguments - 1)
        plan[name] = PrepareModuleInput(
            input_layouts=(stream, *others), desired_input_layouts=(Replicate(), *others)
        )
    return plan


def _latent(names: Mapping[str, nn.Module], settings: Settings) -> Plan:
    """MLA: latents are made where the stream is; only the projections up from them have heads to cut."""
    stream = _stream(settings)
    wide = [name for name in ("attention.q", "attention.q_up", "attention.kv_up") if name in names]
    plan: Plan = {name: ColwiseParallel(input_layouts=stream) for name in wide}
    return plan | {"attention.out": RowwiseParallel(output_layouts=stream)}


def _head(settings: Settings) -> Plan:
    plan: Plan = {}
    if settings.layout.sp and settings.model.final_norm:
        plan["head.norm"] = SequenceParallel(sequence_dim=SEQUENCE, use_local_output=True)
    logits = Shard(-1) if settings.loss.vocab_parallel else Replicate()
    plan["head.output"] = ColwiseParallel(input_layouts=_stream(settings), output_layouts=logits)
    return plan


def _unmark(module: nn.Module) -> None:
    """DTensors know their cut and their partial gradients themselves."""
    for name in ("cuts", "partial"):
        if name in vars(module):
            setattr(module, name, {})
