"""Mixture of experts: router, routed experts behind an exchange over ep, weighted sum, shared experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from planner.models.parts import Moe as MoeSpec
from planner.validation.trainer.experts.layer import Experts
from planner.validation.trainer.experts.routes import balanced_choice, balanced_routes, learned_routes
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.mlp import Mlp
from planner.validation.trainer.settings import Settings


class Moe(nn.Module):
    """The feed-forward part of layer ``index`` when it routes; every token reaches all its experts.

    There is no auxiliary loss: it would depend on how tokens are spread over ranks.
    """

    unit = "moe"

    def __init__(self, settings: Settings, groups: Groups, index: int) -> None:
        super().__init__()
        moe = settings.model.moe
        if moe is None:
            raise ValueError(f"layer {index} of {settings.model.name} has no experts")
        self.spec, self.groups = moe, groups
        self.balanced = settings.routing == "balanced"
        shared_axis = "tp" if settings.layout.sp else None
        self.router = Router(moe, settings.model.hidden, shared_axis, balanced=self.balanced)
        self.experts = Experts(settings, groups, moe)
        self.combine = Combine()
        if moe.shared_ffn:
            self.shared_experts = Mlp(settings, groups, moe.shared_ffn, bias=False)
            self.shared_experts.unit = self.shared_experts.activation.unit = "shared_experts"
        if moe.shared_gate:
            self.shared_gate = Linear(settings.model.hidden, 1, bias=False, partial=shared_axis)

    def forward(self, x: Tensor) -> Tensor:
        """The branch's output for a normalised stream (batch, tokens of this rank, hidden)."""
        tokens = x.flatten(0, 1)
        weights, chosen = self.router(tokens)
        routes_of = balanced_routes if self.balanced else learned_routes
        routes = routes_of(chosen, self.spec.experts, self.groups)
        answered = self.experts(tokens.index_select(0, routes.order // self.spec.topk), routes)
        combined: Tensor = self.combine(answered, routes.order, weights).view_as(x)
        return combined + self._shared(x) if self.spec.shared_ffn else combined

    def _shared(self, x: Tensor) -> Tensor:
        """What every token gets, scaled by a learned gate where the model has one."""
        shared: Tensor = self.shared_experts(x)
        return shared * self.shared_gate(x).sigmoid() if self.spec.shared_gate else shared


class Router(nn.Module):
    """Scores of all experts in at least 32 bits, and the best of them with weights that add up to one.

    Args:
        partial: axis over which ranks see different tokens of the stream.
        balanced: experts are dealt out round robin; their weights still come from the scores.
    """

    unit = "router"

    def __init__(self, moe: MoeSpec, hidden: int, partial: str | None, *, balanced: bool) -> None:
        super().__init__()
        self.spec, self.balanced = moe, balanced
        self.weight = nn.Parameter(torch.empty(moe.experts, hidden))
        self.partial: dict[str, str] = {} if partial is None else {"weight": partial}

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(weights, numbers) of the experts of each token, both (tokens, top-k).

        Softmax over all scores (Mixtral, arXiv 2401.04088) or a sigmoid of each (DeepSeek-V3, arXiv 2412.19437).
        """
        logits: Tensor = _WideLinear.apply(tokens, self.weight)  # type: ignore[no-untyped-call]
        scores = logits.softmax(dim=-1) if self.spec.score == "softmax" else logits.sigmoid()
        if self.balanced:
            chosen = balanced_choice(len(tokens), self.spec.topk, self.spec.experts, tokens.device)
            best = scores.gather(1, chosen)
        else:
            best, chosen = scores.topk(self.spec.topk, dim=-1)
        return best / best.sum(dim=-1, keepdim=True), chosen


class Combine(nn.Module):
    """The weighted sum of the answers to each token."""

    unit = "moe_combine"

    def forward(self, answered: Tensor, order: Tensor, weights: Tensor) -> Tensor:
        """(tokens, hidden).

        Args:
            answered: (tokens x top-k, hidden) in ``order``. weights: (tokens, top-k).
        """
        by_token = answered.index_select(0, order.argsort()).view(*weights.shape, -1)
        return (by_token * weights.to(by_token.dtype).unsqueeze(-1)).sum(dim=1)


class _WideLinear(Function):
    """x W^T in fp32 (or 64 bits) that keeps its operands for backward as narrow as they came."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.linear(_wide(x), _wide(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = gradient @ _wide(weight), gradient.t() @ _wide(x)
        return of_x.to(x.dtype), of_weight.to(weight.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.element_size() < 4 else x
