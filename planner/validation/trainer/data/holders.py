"""Which modules hold a parameter: several for a tied one, which moving a module to storage would part."""

from __future__ import annotations

from torch import nn

Holder = tuple[nn.Module, str]
"""A module and the parameter's name there."""


def holders_of(stage: nn.Module) -> dict[int, list[Holder]]:
    """Identity of each parameter of a stage -> its holders, in the order of the modules."""
    holders: dict[int, list[Holder]] = {}
    for module in stage.modules():
        for name, parameter in module.named_parameters(recurse=False):
            holders.setdefault(id(parameter), []).append((module, name))
    return holders
