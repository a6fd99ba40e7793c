"""What operators of routed experts cost at least, whatever mesh the experts lie on: for bounds that leave ep and etp open.

A rank computes as many FLOPs of its routed rows on any mesh. On more ranks an expert has more rows, and its narrower parts read
more of them, so that nothing but launches per local expert and the shape of the products depends on the mesh.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.costs.kernels import matmul_rate
from planner.costs.operators import OperatorCost, matmul_precision, operator_cost
from planner.costs.sizes import Sizes
from planner.layouts.layouts import Layouts
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator


def on_one_rank(layouts: Layouts) -> Layouts:
    """The rows with the experts on no mesh: nothing is sent to them, and a rank's routed rows are as few as on any mesh."""
    one = np.ones(len(layouts), dtype=np.int64)
    return replace(layouts, columns={**layouts.columns, "ep": one, "etp": one})


def one_expert_each(sizes: Sizes) -> Sizes:
    """The same sizes for launches per local expert, of which there is at least one."""
    every = np.full(len(sizes.layouts), max(sizes.job.model.experts, 1), dtype=np.int64)
    return replace(sizes, layouts=replace(sizes.layouts, columns={**sizes.layouts.columns, "ep": every}))


def least_cost(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """An operator's cost for rows ``on_one_rank``, products of routed experts at the rate that no shape exceeds."""
    cost = operator_cost(operator, block, derivation, sizes)
    if not _multiplies_experts(operator, block):
        return cost
    rate = matmul_rate(sizes.job.cluster.accelerator, matmul_precision(operator, sizes))
    seconds = cost.forward_flops / rate
    return replace(cost, forward_s=seconds, input_gradient_s=seconds, weight_gradient_s=seconds)


def _multiplies_experts(operator: Operator, block: Block) -> bool:
    return operator.kind == "einsum" and any(
        "experts" in block.parameters[name].axis_names for name in operator.parameters
    )
