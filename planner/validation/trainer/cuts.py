"""How a rank's parameters were cut out of the whole ones, so that layouts can be compared by name.

The module that owns a parameter says it, because parameters themselves are replaced when a module gets storage or is
sharded. All of these attributes are optional:

``cuts``: parameter name -> ((axis of ``Groups``, dimension), ...), outermost cut first;
``partial``: parameter name -> axis over which its gradient is still a partial sum after backward;
``replicas``: axis along which the parameters are replicated or sharded as a state, ``dp_cp`` or ``edp``;
``unit``: the recompute unit that the module is, in the words of ``models.graph.Operator.module``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from planner.validation.trainer.groups import Groups

Cuts = tuple[tuple[str, int], ...]

_WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.", "module.")


@dataclass(frozen=True)
class Owned:
    """A parameter with what its module says about it; ``name`` is the same in every layout."""

    name: str
    parameter: nn.Parameter
    cuts: Cuts
    partial: str | None
    replicas: str


@dataclass(frozen=True)
class Piece:
    """One rank's part of a whole tensor: where it starts along each dimension of ``shape``."""

    name: str
    shape: tuple[int, ...]
    start: tuple[int, ...]
    values: Tensor


def owned_parameters(module: nn.Module) -> Iterator[Owned]:
    """Every parameter once, in the order of the modules."""
    seen: set[int] = set()
    for prefix, owner in module.named_modules():
        for local, parameter in owner.named_parameters(prefix="", recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            cuts = getattr(owner, "cuts", {}).get(local, ())
            partial = getattr(owner, "partial", {}).get(local)
            name = plain_name(f"{prefix}.{local}" if prefix else local)
            yield Owned(name, parameter, cuts, partial, getattr(owner, "replicas", "dp_cp"))


def plain_name(name: str) -> str:
    """The parameter's name without what wrappers (checkpointing, compiling, DDP) put into it."""
    for added in _WRAPPERS:
        name = name.replace(added, "")
    return name


def whole_shape(shape: Iterable[int], cuts: Cuts, groups: Groups) -> tuple[int, ...]:
    """Shape of the whole parameter, given that of this rank's part."""
    sizes = list(shape)
    for axis, dim in cuts:
        sizes[dim] *= groups.size(axis)
    return tuple(sizes)


def part(whole: Tensor, cuts: Cuts, groups: Groups) -> Tensor:
    """The slice of ``whole`` that this rank holds."""
    for axis, dim in cuts:
        whole = whole.chunk(groups.size(axis), dim)[groups.index(axis)]
    return whole


def piece(name: str, values: Tensor, cuts: Cuts, groups: Groups) -> Piece:
    """A copy of the part ``values`` with its place in the whole; a DTensor is gathered over its mesh first."""
    if isinstance(values, DTensor):
        values = values.full_tensor()
    start, extent = [0] * values.dim(), list(values.shape)
    for axis, dim in reversed(cuts):
        start[dim] += groups.index(axis) * extent[dim]
        extent[dim] *= groups.size(axis)
    return Piece(name, tuple(extent), tuple(start), values.detach().to("cpu", copy=True))


def assemble(pieces: Iterable[Piece]) -> dict[str, Tensor]:
    """Whole tensors by name from the pieces of all ranks; replicas overwrite each other, gaps stay NaN."""
    whole: dict[str, Tensor] = {}
    for item in pieces:
        if item.name not in whole:
            whole[item.name] = torch.full(item.shape, torch.nan, dtype=item.values.dtype)
        sizes = zip(item.start, item.values.shape, strict=True)
        whole[item.name][tuple(slice(first, first + size) for first, size in sizes)] = item.values
    return whole
