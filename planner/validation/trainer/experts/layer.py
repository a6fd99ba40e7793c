"""The routed experts of one layer that a rank holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from planner.models.parts import Moe as MoeSpec
from planner.validation.trainer.cuts import Cuts
from planner.validation.trainer.experts.grouped import grouped_linear
from planner.validation.trainer.experts.routes import Routes
from planner.validation.trainer.experts.rows import (
    exchanged_rows,
    gathered_rows,
    regrouped,
    scattered_rows,
)
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.mlp import Activation
from planner.validation.trainer.settings import Settings


class Experts(nn.Module):
    """Up (with gate), activation and down of the rank's experts; their inner width is cut over etp.

    Parameters are plain tensors in every convention and are replicated over edp.
    """

    replicas = "edp"

    def __init__(self, settings: Settings, groups: Groups, moe: MoeSpec) -> None:
        super().__init__()
        spec = settings.model
        self.groups = groups
        held, width = moe.experts // groups.size("ep"), moe.moe_ffn // groups.size("etp")
        self.wide = 2 if spec.gated_mlp else 1
        self.up = nn.Parameter(torch.empty(held, self.wide, width, spec.hidden))
        self.down = nn.Parameter(torch.empty(held, spec.hidden, width))
        cut: Cuts = (("ep", 0), ("etp", 2))
        self.cuts = {"up": cut, "down": cut}
        self.activation = Activation(settings)
        self.activation.unit = "moe_activation"

    def forward(self, rows: Tensor, routes: Routes) -> Tensor:
        """What the experts make of a rank's rows, in the order in which it sent them.

        Rows go to the ranks of ep that hold their experts, then to all ranks of etp, each of which computes a part of
        the inner width: their sum is scattered, and rows return to where they came from.
        """
        ep, etp = self.groups.group("ep"), self.groups.group("etp")
        received = routes.received(self.groups.index("etp"))
        rows = exchanged_rows(rows, routes.sent, received, ep)
        rows = gathered_rows(rows, routes.arrived, etp)
        rows = regrouped(rows, routes.blocks)
        rows = self.computed(rows, routes.counts)
        rows = regrouped(rows, routes.by_expert)
        rows = scattered_rows(rows, routes.arrived, etp)
        return exchanged_rows(rows, received, routes.sent, ep)

    def computed(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The feed-forward network of each expert on its rows (a partial sum over etp)."""
        wide = grouped_linear(rows, self.up.flatten(1, 2), counts).chunk(self.wide, dim=-1)
        return grouped_linear(self.activation(*wide), self.down, counts)
