"""Degrees and batch of a row: what it states, and what follows from the number of devices."""

from __future__ import annotations

from dataclasses import dataclass

from planner.validation.runs.refusal import Refused, missing
from planner.validation.runs.rows import RunRow


@dataclass(frozen=True)
class Degrees:
    """Sizes of the mesh axes, and the batch.

    Args:
        per_chip: ranks of the source per device of ours (TPU v7: two cores of one chip).
        global_batch: sequences per step; ``batch_known``: the row tells it. Otherwise it is some number of micro-batches
            that fills the pipeline: enough for memory, meaningless for seconds.
    """

    tp: int
    cp: int
    pp: int
    dp: int
    per_chip: int
    global_batch: int
    batch_known: bool = True


def degrees_of(row: RunRow) -> Degrees:
    """The degrees of a row.

    Raises:
        Refused: one is missing, or they do not multiply to the devices.
    """
    layout, count = row.layout, row.hardware.count
    if count is None:
        raise missing("hardware.count")
    if layout.tp is None:
        raise missing("layout.tp")
    if layout.pp is None:
        raise missing("layout.pp")
    per_chip = layout.devices_per_chip or 1
    cp = layout.cp or 1
    if per_chip > 1 and cp % per_chip == 0:
        cp //= per_chip
    inner = layout.tp * cp * layout.pp
    if count % inner:
        raise Refused("tp x cp x pp does not divide the devices", f"{inner} and {count}")
    dp = count // inner
    if layout.dp is not None and per_chip == 1 and layout.dp != dp:
        raise Refused("tp x cp x pp x dp is not the number of devices", f"dp {layout.dp}, left are {dp}")
    batch = _global_batch(row, dp)
    if batch is None:
        if not (row.measured.oom or row.memory_kind):
            raise missing("layout.global_batch")
        batch = dp * layout.pp * 8
        return Degrees(layout.tp, cp, layout.pp, dp, per_chip, batch, batch_known=False)
    return Degrees(layout.tp, cp, layout.pp, dp, per_chip, batch)


def _global_batch(row: RunRow, dp: int) -> int | None:
    layout = row.layout
    if layout.global_batch is not None:
        return layout.global_batch
    if layout.global_batch_tokens is not None and row.model.seq_len:
        return max(1, round(layout.global_batch_tokens / row.model.seq_len))
    if layout.micro_batch and layout.grad_accum:
        return max(1, round(layout.micro_batch * layout.grad_accum * dp))
    return None


def micro_batches_of(row: RunRow, degrees: Degrees) -> tuple[int, ...]:
    """Sequences per micro-batch: what the row states, or the sizes that may have been meant.

    MaxText states sequences per device (already divided by cp, so it may be a fraction) and accumulates nothing.

    Raises:
        Refused: the batch is not a whole number of micro-batches.
    """
    batch, stated = degrees.global_batch, row.layout.micro_batch
    if batch % degrees.dp:
        raise Refused("dp does not divide the global batch", f"{degrees.dp} and {batch}")
    share = batch // degrees.dp
    if stated is None or stated == 0:
        if row.layout.grad_accum and share % row.layout.grad_accum == 0:
            return (share // row.layout.grad_accum,)
        return tuple(size for size in (1, 2, 4, 8) if share % size == 0)
    if row.framework == "maxtext" or stated != int(stated) or degrees.per_chip > 1:
        passes = max(1, round(batch / (stated * (row.hardware.count or 1) * degrees.per_chip)))
        if share % passes:
            raise Refused("the global batch is no whole number of micro-batches")
        return (share // passes,)
    if share % int(stated):
        raise Refused("the global batch is no whole number of micro-batches", f"{share} by {stated:g}")
    return (int(stated),)
