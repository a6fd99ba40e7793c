"""Host-side work of one block: what the CPU launches, what CUDA graphs take off it, and where it waits for the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from planner.costs.operators import OperatorCost
from planner.costs.sizes import FloatArray, Sizes
from planner.costs.transfers import Transfer
from planner.jobs.types import CaptureScope, Training
from planner.models.graph import Block, Operator

BLOCK_SCALED = ("mxfp8", "nvfp4")
"""Precisions with a scale per block: every local expert's operands are cast by launches of their own."""

CAPTURED: Mapping[CaptureScope, frozenset[str]] = MappingProxyType(
    {
        "attn": frozenset({"norm", "attention", "core_attention", "mla_up_proj", "residual"}),
        "mlp": frozenset({"mlp", "activation"}),
        "moe_router": frozenset({"router", "shared_experts"}),
        "moe_preprocess": frozenset(),
    }
)
"""Recompute units whose launches one graph of a layer replaces (cuda_graph_scope of Megatron-Core's TransformerConfig)."""

ROUTER_LAUNCHES = (10.0, 6.0)
"""Launches of a router besides its matmul: scores, top-k, mask and probabilities, auxiliary loss; backward fewer
(megatron/core/transformer/moe/router.py and moe_utils.py of NVIDIA/Megatron-LM)."""

PREPROCESS_LAUNCHES = (12.0, 0.0)
"""Launches that a dispatch needs to know its sizes: counts per expert, their exchange, sums per rank, copies to the host
(MoEAlltoAllTokenDispatcher.preprocess, megatron/core/transformer/moe/token_dispatcher.py)."""

ROUTED = frozenset({"moe", "moe_activation", "moe_combine"})
"""Recompute units from the dispatch of rows to experts to their combination."""


@dataclass(frozen=True)
class HostWork:
    """Seconds of one pass, shape (rows,).

    Args:
        total: all of the pass.
        routed: the part from the dispatch of rows to the combination of experts, where the host waits before it for the
            counts of rows per expert; else 0.
    """

    total: FloatArray
    routed: FloatArray

    def and_again(self, other: HostWork) -> HostWork:
        """This work and another's in the same pass."""
        return HostWork(self.total + other.total, self.routed + other.routed)


def host_work(
    block: Block,
    costs: Mapping[str, OperatorCost],
    sizes: Sizes,
    operators: Sequence[Operator],
    *,
    backward: bool,
) -> HostWork:
    """Host-side work of a pass over some operators of a block.

    Args:
        costs: of all operators by name.
        operators: those that run.
        backward: the backward pass of them; else forward (also when it runs again).
    """
    training, host = sizes.job.training, sizes.job.framework.host
    zero = np.zeros(len(sizes.layouts))
    if training.capture is True:
        return HostWork(zero, zero)
    each = host.backward_operator_s if backward else host.forward_operator_s
    rest, routed = zero, zero
    for operator in operators:
        launches = _left(operator, costs[operator.name], training, backward=backward)
        seconds = each * launches + _of_experts(operator, block, sizes, backward=backward)
        if operator.module in ROUTED:
            routed = routed + seconds
        else:
            rest = rest + seconds
    share = host.compiled_share if training.compile else 1.0
    replays = each * sum(1.0 for scope in _scopes(training) if _runs(scope, operators))
    waits = not backward and training.moe.capacity_factor is None
    return HostWork(share * (rest + routed + replays), share * routed if waits else zero)


def collective_launches_s(sizes: Sizes, transfers: Iterable[Transfer]) -> FloatArray:
    """Seconds in which the host launches the collectives of a pass, shape (rows,): each call as long as any operator.

    One graph of the iteration launches none. Where cores compute and move messages, a collective's time holds its call.

    Args:
        transfers: of the pass; what it repeats of the forward pass is launched as there.
    """
    training, host = sizes.job.training, sizes.job.framework.host
    seconds = np.zeros(len(sizes.layouts))
    if training.capture is True or sizes.job.cluster.accelerator.synchronous:
        return seconds
    captured = {module for scope in _scopes(training) for module in CAPTURED[scope]}
    for transfer in transfers:
        if transfer.module not in captured:
            each = (
                host.backward_operator_s if transfer.exchange.pass_ == "backward" else host.forward_operator_s
            )
            seconds = seconds + each * transfer.calls
    return seconds


def routed_wait_s(work: HostWork, device: FloatArray) -> FloatArray:
    """Seconds that the device waits for the launches of experts, at least.

    The host runs ahead of the device until it waits for the router's counts. By then the device has run dry: what follows
    the experts starts after their launches, whatever the device could have done meanwhile (a flow shop of two machines, as
    long as the longest path over its jobs in order).

    Args:
        work: of the host; device: seconds of its routed part on the device.
    """
    return np.where(work.routed > 0.0, np.maximum(work.routed - device, 0.0), 0.0)


def _scopes(training: Training) -> tuple[CaptureScope, ...]:
    return () if isinstance(training.capture, bool) else training.capture


def _runs(scope: CaptureScope, operators: Sequence[Operator]) -> bool:
    if scope == "moe_preprocess":
        return any(operator.kind == "dispatch" for operator in operators)
    return any(operator.module in CAPTURED[scope] for operator in operators)


def _left(operator: Operator, cost: OperatorCost, training: Training, *, backward: bool) -> FloatArray:
    """Launches of an operator that no graph replaces."""
    launches = cost.launches_backward if backward else cost.launches_forward
    scopes = _scopes(training)
    if any(operator.module in CAPTURED[scope] for scope in scopes):
        return np.zeros_like(launches)
    if operator.kind == "router":
        return launches + ROUTER_LAUNCHES[backward]
    if operator.kind == "dispatch" and "moe_preprocess" not in scopes:
        return launches + PREPROCESS_LAUNCHES[backward]
    return launches


def _of_experts(operator: Operator, block: Block, sizes: Sizes, *, backward: bool) -> FloatArray | float:
    """Launches for every local expert, which grouped kernels of Transformer Engine still make one by one."""
    if not any("experts" in block.parameters[name].axis_names for name in operator.parameters):
        return 0.0
    local = sizes.job.model.experts / sizes.degrees["ep"]
    launches = (2.0 if backward else 1.0) * (2.0 if sizes.job.training.precision in BLOCK_SCALED else 1.0)
    return np.asarray(local * launches * sizes.job.framework.host.expert_s)
