"""What a pass loses to host programs: launches that come too late, its own and those of ranks that meet in collectives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from planner.costs.sizes import FloatArray, Sizes
from planner.costs.transfers import Transfer


def late_launches(device: FloatArray, host: FloatArray, *, in_turns: bool = False) -> FloatArray:
    """Seconds that a pass takes beyond its device time because launches come late, shape (rows,).

    Host and device overlap through the launch queue, so a pass takes at least as long as either. Both bounds are reached only
    where one leads throughout: a pass alternates large kernels, behind which the host runs ahead, with small ones, behind
    which the queue runs dry. Between them the pass takes (device^2 + host^2)^(1/2): a rounded corner, as layer times over
    micro-batches of 1 to 8 show it (A100, VIA-Research/vTrain, data/ground_truth_single.csv).

    Args:
        device, host: seconds of the pass on the device (exposed traffic included) and in the host program.
        in_turns: one after the other: the device is the host, or each launch waits for its kernel.
    """
    if in_turns:
        return np.asarray(host)
    return np.asarray(np.hypot(device, host) - device)


def out_of_step(sizes: Sizes, transfers: Iterable[Transfer]) -> FloatArray:
    """Host seconds by which the slowest of the ranks is behind that meet in a pass's tensor-parallel collectives, (rows,).

    The longest of n equally distributed delays grows with the logarithm of n (system noise and collectives: Hoefler et al.,
    SC 2010). Like all host work it matters where launches come late; captured graphs have no host program.

    Args:
        transfers: of the pass.
    """
    job = sizes.job
    zero = np.zeros(len(sizes.layouts))
    if job.training.capture is True or job.framework.host.collective_s == 0.0:
        return zero
    calls = sum((t.calls for t in transfers if t.exchange.axis == "tp"), zero)
    return np.asarray(job.framework.host.collective_s * calls * np.log2(np.maximum(sizes.degrees["tp"], 1)))
