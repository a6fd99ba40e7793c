"""Which defaults a failure study rests on, in words with their source."""

from __future__ import annotations

from planner.jobs.types import Job
from planner.simulator.failures.options import FailureOptions
from planner.units import format_rate, format_seconds


def assumptions_of(job: Job, options: FailureOptions) -> tuple[str, ...]:
    """One line for every figure that the user did not change."""
    base = FailureOptions()
    lines = []
    if options.mtbf_s is None and job.cluster.mtbf_s is not None:
        lines.append(f"mtbf {job.cluster.mtbf_s / 3600:,.0f} h of one device: the cluster's")
    if options.checkpoint_s is None and options.checkpoint_bandwidth == base.checkpoint_bandwidth:
        rate = format_rate(base.checkpoint_bandwidth)
        lines.append(
            f"storage takes {rate} from each node: 2 TB/s sustained for 2,048 nodes (arXiv 2407.21783)"
        )
    if options.checkpoint_background_s == 0.0:
        lines.append("checkpoints are durable when the job goes on (no background write)")
    if options.detect_s == base.detect_s:
        lines.append(
            f"detection {format_seconds(base.detect_s)}: upper end of MegaScale's (arXiv 2402.15627)"
        )
    if options.restart_s == base.restart_s:
        lines.append(f"restart {format_seconds(base.restart_s)}: assumed")
    if options.spares is None:
        lines.append("a spare node for every failure: assumed")
    elif options.repair_s == base.repair_s:
        lines.append(f"repair {format_seconds(base.repair_s)}: assumed")
    return tuple(lines)
