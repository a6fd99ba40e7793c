"""Initial weights from the seed and a parameter's name alone, so that every layout starts from the same model."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from planner.validation.trainer.cuts import owned_parameters, part, whole_shape
from planner.validation.trainer.groups import Groups

STANDARD_DEVIATION = 0.02
TIED = {"head.output.weight": "embedding.tokens.weight"}
"""Parameter that starts as another one when the model ties its embeddings."""


@torch.no_grad()
def fill(module: nn.Module, groups: Groups, seed: int, *, tied: bool = False) -> None:
    """Write the initial values into every parameter of a stage, cut as the rank holds it.

    Args:
        module: a stage on a real device, sharded or not.
        tied: the head's table starts as the token table.
    """
    for owned in owned_parameters(module):
        parameter = owned.parameter
        source = TIED.get(owned.name, owned.name) if tied else owned.name
        values = whole_values(source, whole_shape(parameter.shape, owned.cuts, groups), seed)
        values = part(values, owned.cuts, groups).to(device=parameter.device, dtype=parameter.dtype)
        if isinstance(parameter, DTensor):
            mesh, placements = parameter.device_mesh, parameter.placements
            values = distribute_tensor(values, mesh, placements, src_data_rank=None).to_local()
            parameter.to_local().copy_(values)
        else:
            parameter.copy_(values)


def whole_values(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal values in 64 bits; weights of norms lie around one."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    values = torch.empty(shape, dtype=torch.float64).normal_(generator=generator) * STANDARD_DEVIATION
    return values + 1.0 if name.endswith("norm.weight") else values
