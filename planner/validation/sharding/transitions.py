"""A tensor goes from one placement to another as a plan says, and its gradient comes back as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed import _functional_collectives as functional
from torch.distributed.tensor import DTensor

from planner.solvers.sharding.plan import PlacedStep, Transition
from planner.validation.sharding.layout import torch_placements, waited

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh


def moved(value: DTensor, transition: Transition) -> DTensor:
    """The value where its consumers want it. Autograd takes the sum of their gradients back by the backward steps."""
    if not transition.forward and not transition.backward:
        return value
    result: DTensor = _Moved.apply(value, transition)  # type: ignore[no-untyped-call]
    return result


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: DTensor, transition: Transition) -> DTensor:
        ctx.transition = transition
        ctx.mesh = value.device_mesh
        local = _stepped(value.to_local(), transition.source, transition.forward, value.device_mesh)
        return DTensor.from_local(local, value.device_mesh, torch_placements(transition.use), run_check=False)

    @staticmethod
    def backward(ctx: Any, gradient: DTensor) -> tuple[DTensor, None]:
        transition: Transition = ctx.transition
        yielded = transition.gradient or transition.use
        if gradient.placements != torch_placements(yielded):
            raise RuntimeError(
                f"gradient of {transition.value} came as {gradient.placements}, planned {yielded}"
            )
        local = _stepped(gradient.to_local(), yielded, transition.backward, ctx.mesh)
        wanted = tuple("R" if state == "P" else state for state in transition.source)
        return DTensor.from_local(local, ctx.mesh, torch_placements(wanted), run_check=False), None


def _stepped(local: Tensor, states: Sequence[str], steps: Sequence[PlacedStep], mesh: DeviceMesh) -> Tensor:
    """A rank's part after all steps, each of which changes the state on one mesh dimension."""
    current = list(states)
    for step in steps:
        if current[step.mesh_dim] != step.before:
            raise RuntimeError(f"step {step} meets {current}")
        if step.after == "P" and mesh.size(step.mesh_dim) > 1:
            local = _share(local, step, mesh)
        elif mesh.size(step.mesh_dim) == 1:
            pass  # alone on this mesh dimension: every placement is the whole
        elif step.before.startswith("S") and step.after.startswith("S"):
            local = _exchanged(local, step, mesh)
        else:
            before = torch_placements(current)
            current[step.mesh_dim] = step.after
            whole = DTensor.from_local(local, mesh, before, run_check=False)
            local = whole.redistribute(placements=torch_placements(current)).to_local()
        current[step.mesh_dim] = step.after
    return local


def _share(local: Tensor, step: PlacedStep, mesh: DeviceMesh) -> Tensor:
    """One term of a sum that is the value: all of it on the first rank, or each rank's slice among zeros."""
    rank, ranks = mesh.get_local_rank(step.mesh_dim), mesh.size(step.mesh_dim)
    if step.before == "R":
        return local if rank == 0 else torch.zeros_like(local)
    dim = int(step.before[1:])
    shape = list(local.shape)
    shape[dim] *= ranks
    made = local.new_zeros(shape)
    made.narrow(dim, rank * local.shape[dim], local.shape[dim]).copy_(local)
    return made


def _exchanged(local: Tensor, step: PlacedStep, mesh: DeviceMesh) -> Tensor:
    """All-to-all from a split of one tensor dimension to a split of another.

    DTensor gathers everything instead where the backend is gloo (``shard_dim_alltoall`` of PyTorch 2.13).
    """
    ranks = mesh.size(step.mesh_dim)
    pieces = local.chunk(ranks, dim=int(step.after[1:]))
    sent = torch.stack([piece.contiguous() for piece in pieces])
    got = waited(functional.all_to_all_single(sent, None, None, (mesh, step.mesh_dim)))
    return torch.cat(list(got.unbind(0)), dim=int(step.before[1:]))
