"""The schedule that a layout asks for: generated, or read from its file."""

from __future__ import annotations

from planner.errors import PlannerError
from planner.layouts.layout import Layout
from planner.simulator.schedules.csv_file import read_schedule
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Schedule
from planner.simulator.schedules.transfers import without_transfers

SPLIT = {"wave": False, "v_half": True, "v_min": True}
"""Schedules whose order follows the seconds of passes, and whether they split the backward pass."""


def layout_schedule(layout: Layout, passes: StagePasses | None = None) -> Schedule:
    """The schedule of a layout, passes only: a whole step's transfers follow from the layout, also where a file lists some.

    Args:
        passes: seconds by stage for the schedules of ``SPLIT``; None: all stages alike.

    Raises:
        PlannerError: it cannot have this shape, or its file is faulty or does not suit pp, vpp and the micro-batches.
    """
    if layout.schedule_file is None:
        return make_schedule(
            layout.schedule,
            ranks=layout.pp,
            chunks=layout.vpp,
            micro_batches=layout.micro_batches,
            slices=layout.slices,
            passes=passes,
        )
    schedule = read_schedule(layout.schedule_file)
    for knob, found, asked in (
        ("pp", schedule.ranks, layout.pp),
        ("pp x vpp", schedule.stages, layout.pp * layout.vpp),
        ("grad_accum", schedule.micro_batches, layout.micro_batches),
    ):
        if found != asked:
            what = {"pp": "rows (ranks)", "pp x vpp": "stages"}.get(knob, "micro-batches")
            message = f"holds {found} {what}, but the layout has {knob} = {asked}; the two must agree"
            raise PlannerError(message, file=layout.schedule_file, field="layout.schedule")
    return without_transfers(schedule)
