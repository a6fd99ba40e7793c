"""Published spellings of pipeline schedules, in one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from planner.errors import PlannerError, suggest
from planner.layouts.layout import NAMED_SCHEDULES, Schedule

_SPELLINGS: Mapping[Schedule, tuple[str, ...]] = {
    "gpipe": ("GPipe", "ScheduleGPipe", "AFAB", "all forward all backward", "F-then-B", "fthenb"),
    "1f1b": (
        "1F1B",
        "Schedule1F1B",
        "PipeDream-Flush",
        "DAPPLE",
        "one forward one backward",
        "non-interleaved",
    ),
    "eager_1f1b": ("eager 1F1B", "1F1B-eager"),
    "interleaved_1f1b": (
        "interleaved",
        "ScheduleInterleaved1F1B",
        "1F1B interleaved",
        "VPP",
        "virtual pipeline",
        "looped DFS",
        "1F1B-I",
    ),
    "looped_bfs": ("looped BFS", "ScheduleLoopedBFS", "BFS", "breadth-first"),
    "zb_h1": ("ZB-H1", "ZB-1P", "zero bubble H1", "1F1B zero bubble", "zero bubble", "ZBB"),
    "zb_h2": ("ZB-H2", "ZB-2P", "zero bubble H2"),
    "zb_v": ("ZB-V", "ScheduleZBVZeroBubble", "ZBV zero bubble", "ZBV"),
    "v_half": ("V-Half",),
    "v_min": ("V-Min",),
    "interleaved_zb": ("interleaved zero bubble", "ScheduleInterleavedZeroBubble", "ZB interleaved"),
    "dualpipe": ("DualPipe",),
    "dualpipe_v": ("DualPipeV", "ScheduleDualPipeV", "cut in half"),
    "wave": ("Hanayo", "wave pipeline"),
    "seq1f1b": ("Seq1F1B",),
}


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


SCHEDULE_ALIASES: Mapping[str, Schedule] = MappingProxyType(
    {_key(spelling): name for name, spellings in _SPELLINGS.items() for spelling in (name, *spellings)}
)
"""Letters and digits of a spelling, lower case -> the schedule."""


def is_action_list(text: str) -> bool:
    """Whether a schedule is given as ``csv:FILE`` rather than by name."""
    return text.lower() == "csv" or text.lower().startswith("csv:")


def schedule_name(
    text: str, *, file: str | None = None, line: int | None = None, field: str = "layout.schedule"
) -> Schedule:
    """The schedule that a published spelling means; case, spaces and punctuation do not matter.

    Raises:
        PlannerError: unknown spelling (with the nearest name), or an action list in a file, which only a
            simulation can cost.
    """
    if is_action_list(text):
        accepted = ", ".join(NAMED_SCHEDULES)
        message = (
            f"'{text}' is an action list that only an event simulation can cost; accepted here: {accepted}"
        )
        raise PlannerError(message, file=file, line=line, field=field)
    found = SCHEDULE_ALIASES.get(_key(text))
    if found is None:
        raise PlannerError(
            f"unknown schedule '{text}'; {suggest(text.lower(), NAMED_SCHEDULES)}",
            file=file,
            line=line,
            field=field,
        )
    return found
