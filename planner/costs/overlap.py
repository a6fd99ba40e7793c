"""What of the data-parallel traffic computation hides, and what is left exposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from planner.costs.replicas import Occasion
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job


class Traffic(NamedTuple):
    """Seconds of one occasion, shape (rows,): on the network, and of the kernels that fill and empty its buffers, which run
    between those of the pass."""

    seconds: FloatArray | float
    copies_s: FloatArray | float


NOTHING = Traffic(0.0, 0.0)


class Chunks(NamedTuple):
    """How the chunks of a rank leave computation behind their gradients, shape (rows,).

    Args:
        number: v, whose traffic is alike.
        passes_left: micro-batches, each on all chunks, during which the step's traffic may be hidden
            (``pipeline.passes_left``).
    """

    number: FloatArray | float
    passes_left: FloatArray | float

    def room(self, seconds: FloatArray | float, left: FloatArray) -> FloatArray:
        """Seconds of a step's traffic that can be hidden behind ``left`` seconds of computation, shape (rows,).

        The chunk that ends last (that starts first) has one micro-batch of its own alone: of traffic T behind C, v chunks hide
        min(C, T (v - 1) / v + min(T, C / passes) / v).
        """
        alone = left / self.passes_left
        return np.minimum(left, (alone + (self.number - 1.0) * seconds) / self.number)


ONE_CHUNK = Chunks(1.0, 1.0)

Moment = Literal["forward", "backward", "first", "last"]
"""Each micro-batch's passes; the first forward and the last backward of a step."""


@dataclass(frozen=True)
class Exposed:
    """What of the data-parallel traffic is not hidden, seconds per step, shape (rows,).

    ``hidden_s``: what is hidden in a step. ``waits``, ``hidden``: seconds of each moment; those of the first forward and the
    last backward come on top of what every micro-batch has.
    """

    by_axis: Mapping[str, FloatArray]
    hidden_s: FloatArray
    waits: Mapping[Moment, FloatArray]
    hidden: Mapping[Moment, FloatArray]


def exposed_traffic(
    job: Job,
    traffic: Mapping[tuple[str, Occasion], Traffic],
    forward_spare: FloatArray,
    backward_spare: FloatArray,
    micro_batches: FloatArray,
    units: int,
    chunks: Chunks = ONE_CHUNK,
) -> Exposed:
    """Hides the traffic behind what computation is left, once.

    Gathers hide behind the pass that they serve and per-micro-batch reductions behind backward, every micro-batch; the
    step's reduction hides behind the last backward and the gather of updated parameters behind the next first forward.
    Of n units, the last gradient is only there when backward is over, and the first forward waits for its weights: n equal
    reductions of T / n behind n computations of C / n leave T - (n - 1) / n min(T, C) exposed. Chunks that take turns leave
    more computation behind all but one of them (``Chunks``).

    Args:
        traffic: of one occasion, by (axis, occasion).
        forward_spare, backward_spare: computation of one micro-batch that nothing hides behind yet.
        units: separately reduced parts (layers) of the rank.
        chunks: of the rank.
    """
    shares = hidden_shares(job)
    zero = np.zeros_like(forward_spare)
    result = {"dp": zero, "edp": zero}
    left = {"forward": forward_spare, "backward": backward_spare}
    waits: dict[Moment, FloatArray] = {"forward": zero, "backward": zero, "first": zero, "last": zero}
    hidden = dict(waits)
    in_passes: tuple[Occasion, ...] = ("forward_gather", "backward_gather", "micro_reduce")
    for occasion in in_passes:
        side: Moment = "forward" if occasion == "forward_gather" else "backward"
        for axis in ("dp", "edp"):
            time, copies = traffic.get((axis, occasion), NOTHING)
            inside = np.minimum(shares[occasion] * time, left[side])
            left[side] = left[side] - inside
            waiting = time - inside + copies
            waits[side] = waits[side] + waiting
            result[axis] = result[axis] + waiting * micro_batches
            hidden[side] = hidden[side] + inside
    in_step: tuple[Occasion, ...] = ("step_reduce", "step_gather")
    overlapping = (units - 1) / max(units, 1)
    left = {side: chunks.passes_left * seconds for side, seconds in left.items()}
    for occasion in in_step:
        for axis in ("dp", "edp"):
            time, copies = traffic.get((axis, occasion), NOTHING)
            moment: Moment = "last" if occasion == "step_reduce" else "first"
            side = "backward" if moment == "last" else "forward"
            inside = overlapping * np.minimum(shares[occasion] * time, chunks.room(time, left[side]))
            left[side] = left[side] - inside
            waits[moment] = waits[moment] + time - inside + copies
            result[axis] = result[axis] + time - inside + copies
            hidden[moment] = hidden[moment] + inside
    total = (hidden["forward"] + hidden["backward"]) * micro_batches + hidden["first"] + hidden["last"]
    return Exposed(result, total, waits, hidden)


def hidden_shares(job: Job) -> Mapping[Occasion, float]:
    """What part of each kind of data-parallel traffic overlaps as far as there is computation: the user's or the profile's."""
    hidden, overlap = job.framework.hidden, job.training.overlap
    gather = float(overlap.get("dp_gather", hidden.dp_gather))
    reduce = float(overlap.get("dp_reduce", hidden.dp_reduce))
    return {
        "forward_gather": gather, "backward_gather": gather, "micro_reduce": reduce, "step_reduce": reduce, "step_gather": gather,
    }  # fmt: skip
