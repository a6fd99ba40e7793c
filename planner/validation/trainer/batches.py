"""Synthetic tokens from the seed and a sample's global index, and the part of them that a rank trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from planner.validation.trainer.settings import Settings

if TYPE_CHECKING:
    from planner.validation.trainer.groups import Groups


@dataclass(frozen=True)
class Batch:
    """One micro-batch of one rank: ``tokens`` and ``labels``, both (micro_batch, seq_len / cp), int64."""

    tokens: Tensor
    labels: Tensor


def micro_batch(settings: Settings, groups: Groups, step: int, index: int) -> Batch:
    """Micro-batch ``index`` of optimizer step ``step`` for this rank, on the CPU.

    Every layout trains on the same ``global_batch`` samples in a step: replica d takes samples
    d * samples_per_replica onwards.
    """
    layout = settings.layout
    first = step * settings.global_batch + groups.index("dp") * settings.samples_per_replica
    first += index * layout.micro_batch
    samples = torch.stack([sample(settings, first + i) for i in range(layout.micro_batch)])
    places = sequence_places(settings, groups)
    return Batch(samples[:, places], samples[:, places + 1])


def micro_batches(settings: Settings, groups: Groups, step: int) -> list[Batch]:
    """All micro-batches of one optimizer step for this rank, in order."""
    return [micro_batch(settings, groups, step, i) for i in range(settings.layout.micro_batches)]


def sample(settings: Settings, index: int) -> Tensor:
    """(seq_len + 1,) tokens of one sample, uniform over the vocabulary."""
    generator = torch.Generator().manual_seed((settings.seed << 32) + index)
    return torch.randint(settings.model.vocab, (settings.seq_len + 1,), generator=generator)


def sequence_places(settings: Settings, groups: Groups) -> Tensor:
    """Places in the sequence of this rank's tokens: its share of the ring, then of the Ulysses group.

    ``zigzag``: rank r of a ring of c holds chunks r and 2c - 1 - r of 2c, so that causal work is equal.
    """
    ring, share = groups.size("ring"), groups.index("ring")
    places = torch.arange(settings.seq_len, device="cpu")  # also where a default device is set
    if settings.cp_balance == "zigzag":
        chunks = places.chunk(2 * ring)
        places = torch.cat([chunks[share], chunks[2 * ring - 1 - share]])
    else:
        places = places.chunk(ring)[share]
    return places.chunk(groups.size("ulysses"))[groups.index("ulysses")]
