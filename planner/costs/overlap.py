"""What of the data-parallel traffic computation hides, and what is left exposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


@dataclass(frozen=True)
class Exposed:
    """What of the data-parallel traffic is not hidden, seconds per step, shape (rows,).

    ``forward_s``, ``backward_s``: of it, what one micro-batch waits in each pass; ``first_s``, ``last_s``: what the first
    forward and the last backward of the step wait besides.
    """

    by_axis: Mapping[str, FloatArray]
    hidden_s: FloatArray
    forward_s: FloatArray
    backward_s: FloatArray
    first_s: FloatArray
    last_s: FloatArray


def exposed_traffic(
    job: Job,
    traffic: Mapping[tuple[str, Occasion], Traffic],
    forward_spare: FloatArray,
    backward_spare: FloatArray,
    micro_batches: FloatArray,
    units: int,
) -> Exposed:
    """Hides the traffic behind what computation is left, once.

    Gathers hide behind the pass that they serve and per-micro-batch reductions behind backward, every micro-batch; the
    step's reduction hides behind the last backward and the gather of updated parameters behind the next first forward.
    Of n units, the last gradient is only there when backward is over, and the first forward waits for its weights: n equal
    reductions of T / n behind n computations of C / n leave T - (n - 1) / n min(T, C) exposed.

    Args:
        traffic: of one occasion, by (axis, occasion).
        forward_spare, backward_spare: computation of one micro-batch that nothing hides behind yet.
        units: separately reduced parts (layers) of the rank.
    """
    shares = hidden_shares(job)
    zero = np.zeros_like(forward_spare)
    result = {"dp": zero, "edp": zero}
    total_hidden = zero
    left = {"forward": forward_spare, "backward": backward_spare}
    waits = {"forward": zero, "backward": zero, "first": zero, "last": zero}
    in_passes: tuple[Occasion, ...] = ("forward_gather", "backward_gather", "micro_reduce")
    for occasion in in_passes:
        side = "forward" if occasion == "forward_gather" else "backward"
        for axis in ("dp", "edp"):
            time, copies = traffic.get((axis, occasion), NOTHING)
            inside = np.minimum(shares[occasion] * time, left[side])
            left[side] = left[side] - inside
            waiting = time - inside + copies
            waits[side] = waits[side] + waiting
            result[axis] = result[axis] + waiting * micro_batches
            total_hidden = total_hidden + inside * micro_batches
    in_step: tuple[Occasion, ...] = ("step_reduce", "step_gather")
    overlapping = (units - 1) / max(units, 1)
    for occasion in in_step:
        for axis in ("dp", "edp"):
            time, copies = traffic.get((axis, occasion), NOTHING)
            side, moment = ("backward", "last") if occasion == "step_reduce" else ("forward", "first")
            inside = overlapping * np.minimum(shares[occasion] * time, left[side])
            left[side] = left[side] - inside
            waits[moment] = waits[moment] + time - inside + copies
            result[axis] = result[axis] + time - inside + copies
            total_hidden = total_hidden + inside
    return Exposed(result, total_hidden, *waits.values())


def hidden_shares(job: Job) -> Mapping[Occasion, float]:
    """What part of each kind of data-parallel traffic overlaps as far as there is computation: the user's or the profile's."""
    hidden, overlap = job.framework.hidden, job.training.overlap
    gather = float(overlap.get("dp_gather", hidden.dp_gather))
    reduce = float(overlap.get("dp_reduce", hidden.dp_reduce))
    return {
        "forward_gather": gather, "backward_gather": gather, "micro_reduce": reduce, "step_reduce": reduce, "step_gather": gather,
    }  # fmt: skip
