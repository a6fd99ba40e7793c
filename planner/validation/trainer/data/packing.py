"""Which parameters share a flat bucket: whole ones, packed in the order in which backward makes their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from planner.validation.trainer.cuts import Owned
from planner.validation.trainer.settings import Settings

FUSED: Mapping[str, str] = {"q": "qkv", "k": "qkv", "v": "qkv", "gate": "up"}
"""Projections of one input that Megatron-LM stores as one parameter (``linear_qkv``, ``linear_fc1``)."""


def buckets(
    parameters: Iterable[Owned], settings: Settings, *, by_unit: bool = False
) -> Iterator[list[Owned]]:
    """Parameters of each bucket of a virtual stage, in the order in which backward fills them.

    A bucket closes when it holds the profile's bucket size (Megatron-LM, core/distributed/param_and_grad_buffer.py); a
    profile without one reduces each layer and each end of the model by itself.

    Args:
        parameters: of one data-parallel axis, in the order of the modules.
        by_unit: a bucket for each layer and each end of the model, whatever the size.
    """
    size = 0.0 if by_unit else settings.bucket_bytes / settings.law.reduced
    held: list[Owned] = []
    for atom in reversed(_atoms(parameters, fused="qkv" in settings.framework.fusions)):
        if held and not size and _unit(held[-1]) != _unit(atom[0]):
            yield held
            held = []
        held += reversed(atom)
        if size and sum(owned.parameter.numel() for owned in held) >= size:
            yield held
            held = []
    if held:
        yield held


def _atoms(parameters: Iterable[Owned], *, fused: bool) -> list[list[Owned]]:
    """What is never parted."""
    atoms: dict[str, list[Owned]] = {}
    for owned in parameters:
        path, _, kind = owned.name.rpartition(".")
        module, _, leaf = path.rpartition(".")
        name = f"{module}.{FUSED.get(leaf, leaf)}.{kind}" if fused else owned.name
        atoms.setdefault(name, []).append(owned)
    return list(atoms.values())


def _unit(owned: Owned) -> str:
    """The layer or the end of the model that holds a parameter."""
    first, _, rest = owned.name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "layers" else first
