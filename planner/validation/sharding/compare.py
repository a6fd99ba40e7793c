"""One rank's comparison: a plan run on a device mesh, beside the model itself on this process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from planner.errors import PlannerError
from planner.models.operator_graph.derive import operator_graph
from planner.validation.sharding.execute import executed, placed
from planner.validation.sharding.layout import local_part, state_texts
from planner.validation.sharding.leaves import leaf_tensors
from planner.validation.sharding.runs import RankOutcome, SentCall, ShardingRun
from planner.validation.sharding.source import Source, random_inputs, widened
from planner.validation.sharding.wide_types import WideTypes
from planner.validation.structure.calls import CallCounter

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh


def compared(run: ShardingRun, source: Source) -> RankOutcome:
    """What this rank of a running job sees: calls of one pass as the model is, differences of another in 64 bits."""
    mesh = init_device_mesh("cpu", run.plan.mesh)
    inputs = random_inputs(source.graph)
    axes = {str(mesh.get_group(dim).group_name): str(dim) for dim in range(mesh.ndim)}
    with CallCounter(lambda group: axes[group]) as counter:
        _sharded(run, source, inputs, mesh)
    calls: Counter[SentCall] = Counter()
    for call, count in counter.calls.items():
        calls[SentCall(call.collective, int(call.axis), call.pass_, call.nbytes)] += count
    torch.set_default_dtype(torch.float64)
    outputs, gradients = _sharded(run, source, _wide(inputs), mesh)
    return _outcome(run, source, _wide(inputs), (outputs, gradients), mesh, calls)


def _wide(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def _sharded(
    run: ShardingRun, source: Source, inputs: Mapping[str, Tensor], mesh: DeviceMesh
) -> tuple[list[DTensor], dict[str, DTensor]]:
    """One forward and backward pass: outputs, and gradients of parameters (and of inputs of a block) by name."""
    wide = torch.get_default_dtype() == torch.float64
    tensors = _wide(source.tensors) if wide else dict(source.tensors)
    traced = widened(source.traced) if wide else source.traced
    graph = operator_graph(traced) if wide else source.graph
    whole = leaf_tensors(graph, traced, {**tensors, **inputs})
    values = graph.values
    leaves = {
        name: placed(tensor, run.plan.stored[name], mesh, values[name].gradient)
        for name, tensor in whole.items()
    }
    outputs = executed(graph, run.plan, leaves, mesh)
    if run.plan.training:
        trained = [output for output in outputs if output.requires_grad]
        torch.autograd.backward(trained, [_seed(output, mesh) for output in trained])
    found = {name: leaf.grad for name, leaf in leaves.items()}
    return list(outputs), {name: grad for name, grad in found.items() if isinstance(grad, DTensor)}


def _seed(output: DTensor, mesh: DeviceMesh) -> DTensor:
    """The same gradient on every layout: of element k it is cos(k), so that a lost or doubled part shows."""

    return placed(_cosines(tuple(output.shape), output.dtype), state_texts(output.placements), mesh, False)


def _cosines(shape: tuple[int, ...], dtype: object) -> Tensor:
    return torch.arange(math.prod(shape)).double().cos().reshape(shape).to(dtype)  # type: ignore[call-overload,no-any-return]


def _outcome(
    run: ShardingRun,
    source: Source,
    inputs: Mapping[str, Tensor],
    sharded: tuple[list[DTensor], dict[str, DTensor]],
    mesh: DeviceMesh,
    calls: Mapping[SentCall, int],
) -> RankOutcome:
    outputs, gradients = sharded
    expected, wanted = _alone(run, source, inputs)
    output_error = max(
        _difference(ours, theirs, mesh) for ours, theirs in zip(outputs, expected, strict=True)
    )
    floor = 1e-6 * max((float(tensor.abs().max()) for tensor in wanted.values()), default=1.0)
    errors = {name: _difference(gradient, wanted[name], mesh, floor) for name, gradient in gradients.items()}
    if run.plan.training and set(gradients) != set(wanted):
        raise PlannerError(f"gradients of {sorted(set(gradients) ^ set(wanted))} are on one side only")
    worst = max(errors, key=errors.__getitem__, default="")
    return RankOutcome(output_error, errors.get(worst, 0.0), worst, len(errors), calls)


def _alone(
    run: ShardingRun, source: Source, inputs: Mapping[str, Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs and gradients of the model itself on this process."""
    values = source.graph.values
    given = {name: tensor.clone().requires_grad_(values[name].gradient) for name, tensor in inputs.items()}
    tensors = {name: tensor.detach().clone() for name, tensor in _wide(source.tensors).items()}
    for name, value in source.traced.values.items():
        if value.kind == "parameter":
            tensors[name].requires_grad_()
    with WideTypes():  # type: ignore[no-untyped-call]
        outputs = list(source.forward(tensors, [given[name] for name in source.graph.inputs]))
        trained = [output for output in outputs if output.requires_grad and run.plan.training]
        if trained:
            torch.autograd.backward(
                trained, [_cosines(tuple(output.shape), output.dtype) for output in trained]
            )
    whole = {name: tensor.grad for name, tensor in {**tensors, **given}.items() if tensor.grad is not None}
    parts = leaf_tensors(source.graph, source.traced, {**tensors, **given, **whole})
    kept = {name for name in parts if values[name].gradient and (values[name].part_of or name) in whole}
    return [output.detach() for output in outputs], {name: parts[name] for name in kept}


def _difference(ours: DTensor, theirs: Tensor, mesh: DeviceMesh, floor: float = 0.0) -> float:
    """Largest difference on this rank's part, relative to the largest element of the whole."""

    part = local_part(theirs, state_texts(ours.placements), mesh)
    scale = max(float(theirs.abs().max()), floor) or 1.0
    return float((ours.to_local().detach() - part).abs().max()) / scale
