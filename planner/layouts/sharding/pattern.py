"""The discrete part of a layout that decides which collectives exist (their sizes come later, as arrays)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from planner.layouts.sharding.placement import TOKENS, BlockAxis, Placement


@dataclass(frozen=True)
class Pattern:
    """Which mesh axes are larger than one, and the conventions of the framework.

    Args:
        tp, ulysses, ring, ep, etp: the degree is larger than one.
        sp: norms, dropouts and residuals are split along the sequence over tp.
        cp_gather: the ring degree is served by gathering K and V.
        kv_replicated: there are fewer KV heads than tp ranks, so several ranks hold the same one.
        vocab_parallel_loss: logits stay sharded over tp.
        regather_inputs: gathered inputs are stored sharded and gathered again for the weight gradient.
        shared_input_hook: one backward reduction serves all consumers of an input (else one each).
        sums_each_pass: gradients of whole weights that saw a share of the tokens are summed in every backward pass, in the
            dtype of activations (else once per step).
        gathers_tokens: experts gather the tokens of all ranks and pick their own (else rows travel by all-to-all).
    """

    tp: bool = False
    sp: bool = False
    ulysses: bool = False
    ring: bool = False
    cp_gather: bool = False
    ep: bool = False
    etp: bool = False
    kv_replicated: bool = False
    vocab_parallel_loss: bool = True
    regather_inputs: bool = True
    shared_input_hook: bool = True
    sums_each_pass: bool = False
    gathers_tokens: bool = False

    def has(self, axis: BlockAxis) -> bool:
        """Whether the mesh axis is larger than one."""
        return bool(getattr(self, axis))

    @cached_property
    def stream(self) -> Placement:
        """Placement of the residual stream: tokens over cp, and over tp with sequence parallelism."""
        states: dict[BlockAxis, str] = {axis: TOKENS for axis in ("ulysses", "ring") if self.has(axis)}
        if self.tp and self.sp:
            states["tp"] = TOKENS
        return Placement.of(states)

    @cached_property
    def expert_stream(self) -> Placement:
        """Placement of tokens that have been sent to experts."""
        return Placement.of({axis: "expert_tokens" for axis in ("ep", "etp") if self.has(axis)})
