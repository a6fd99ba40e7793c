"""The plan file of a job on several groups."""

from __future__ import annotations

from typing import Any

from planner.jobs.provenance import provenance
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.plan import MixedPlan


def mixed_plan_content(mixed: MixedJob, plan: MixedPlan) -> dict[str, Any]:
    """Job, segments and prediction as plain data, without any time stamp.

    A segment has what a plan's ``layout`` has, once per group.
    """
    figures = plan.to_json()
    segments = figures.pop("segments")
    first = mixed.jobs[0]
    return {
        "job": {**first.source, "devices": mixed.devices},
        "segments": [
            {
                "group": part["group"],
                "devices": part["devices"],
                "sequences": part["sequences"],
                "layout": {
                    **part["layout"],
                    "recompute_per_stage": [stage["recompute"] for stage in part["stages"]],
                },
            }
            for part in segments
        ],
        "prediction": {**figures, "segments": segments},
        "provenance": {
            group.name: provenance(job) for group, job in zip(mixed.groups, mixed.jobs, strict=True)
        },
    }
