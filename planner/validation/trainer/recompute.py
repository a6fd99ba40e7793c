"""Recompute: layers of a rank's stages that throw their activations away in forward and repeat it in backward."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def repeat_whole(layers: Iterable[nn.Module], *, first: int | None = None, stops_early: bool) -> None:
    """Full recompute: a layer keeps only its input (arXiv 1604.06174; Korthikanti et al., arXiv 2205.05198, section 5).

    The forward of the module itself is wrapped, not the module: names of parameters stay, and hooks that gather its
    weights (fully_shard) run outside of what is repeated.

    Args:
        layers: of a pipeline rank in order, before they are sharded.
        first: only so many of them; None for all.
        stops_early: the repetition ends with the last tensor that backward needs, as torch.utils.checkpoint does by
            default; Megatron-LM repeats all of it.
    """
    for layer in list(layers)[:first]:
        forward = partial(checkpoint, layer.forward, use_reentrant=False, early_stop=stops_early)
        setattr(layer, "forward", forward)  # noqa: B010
