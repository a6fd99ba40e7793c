"""Recompute: what a rank's layers throw away in forward and repeat in backward (arXiv 1604.06174, arXiv 2205.05198)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from planner.costs.kept_outputs import keeps
from planner.validation.trainer.model.moe import Router
from planner.validation.trainer.settings import Settings

Shapes = frozenset[tuple[int, ...]]

_MATMULS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
_ALWAYS_KEPT = (
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops._c10d_functional.reduce_scatter_tensor.default,
)
"""Outputs that torchtitan's per-operator policy keeps besides matmuls (torchtitan/distributed/activation_checkpoint.py)."""


def apply_recompute(stages: Iterable[nn.Module], settings: Settings, rank: int = 0) -> None:
    """Recompute as the layout says, in the way of the framework profile.

    Args:
        stages: of a pipeline rank in order, with tensor parallelism, before they are sharded.
        rank: that pipeline rank.
    """
    recompute, framework = settings.layout.recompute, settings.framework
    early, kept = framework.recompute_stops_early, framework.selective_outputs
    every = [layer for stage in stages for layer in _layers(stage)]
    layers = every[: settings.layout.recomputed_on(rank, len(every))]
    if recompute.mode == "full":
        repeat_whole(layers, stops_early=early)
    elif recompute.mode == "selective" and kept is not None:
        repeat_operators(layers, kept=kept, stops_early=early)
    elif recompute.mode == "selective":
        repeat_units(layers, recompute.modules, stops_early=early)


def repeat_whole(layers: Iterable[nn.Module], *, stops_early: bool) -> None:
    """Full recompute: a layer keeps only its input.

    Args:
        stops_early: the repetition ends with the last tensor that backward needs, as torch.utils.checkpoint does by
            default; Megatron-LM repeats all of it.
    """
    for layer in layers:
        _repeat(layer, stops_early)


def repeat_units(layers: Iterable[nn.Module], units: Iterable[str], *, stops_early: bool) -> None:
    """Selective recompute of modules: each keeps its inputs (Megatron-LM's ``recompute_modules``).

    Args:
        units: names in the words of ``models.graph.Operator.module``; a unit inside another one repeats with it.
    """
    chosen = frozenset(units)
    for layer in layers:
        for module in list(_outermost(layer, chosen)):
            _repeat(module, stops_early)


def repeat_operators(layers: Iterable[nn.Module], *, kept: float, stops_early: bool) -> None:
    """Selective recompute of operators: a layer keeps attention's outputs and a share of its matmuls' outputs.

    Args:
        kept: share of the matmuls, evenly spread from the first one on; routers' are repeated and not counted.
    """
    for layer in layers:
        routers = {tuple(m.weight.shape) for m in layer.modules() if isinstance(m, Router)}
        _repeat(layer, stops_early, context_fn=partial(_contexts, kept, frozenset(routers)))


def _repeat(module: nn.Module, stops_early: bool, **options: Any) -> None:
    """Wrap the forward, not the module: names of parameters stay, and hooks that gather its weights (fully_shard) run
    outside of what is repeated."""
    forward = partial(checkpoint, module.forward, use_reentrant=False, early_stop=stops_early, **options)
    setattr(module, "forward", forward)  # noqa: B010


def _layers(stage: nn.Module) -> Iterator[nn.Module]:
    layers = stage.get_submodule("layers")
    assert isinstance(layers, nn.ModuleDict)
    yield from layers.values()


def _outermost(module: nn.Module, units: frozenset[str]) -> Iterator[nn.Module]:
    for child in module.children():
        if getattr(child, "unit", None) in units:
            yield child
        else:
            yield from _outermost(child, units)


def _contexts(kept: float, routers: Shapes) -> Any:
    """For one forward and its repetition, which count their matmuls apart."""
    return create_selective_checkpoint_contexts(_policy(kept, routers))  # type: ignore[no-untyped-call]


def _policy(kept: float, routers: Shapes = frozenset()) -> Callable[..., CheckpointPolicy]:
    seen = {False: 0, True: 0}

    def decide(context: Any, operator: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
        if operator in _ALWAYS_KEPT:
            return CheckpointPolicy.MUST_SAVE
        if operator not in _MATMULS or tuple(reversed(arguments[-1].shape)) in routers:
            return CheckpointPolicy.PREFER_RECOMPUTE
        before = seen[context.is_recompute]
        seen[context.is_recompute] += 1
        return CheckpointPolicy.MUST_SAVE if keeps(before, kept) else CheckpointPolicy.PREFER_RECOMPUTE

    return decide
