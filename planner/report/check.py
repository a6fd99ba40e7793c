"""The answer of ``plan check``: broken rules, or rank groups and memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction
from planner.report.plan import memory_table
from planner.report.tables import new_table
from planner.report.text import gib, layout_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.layouts.legality import Violation

SHOWN_GROUPS = 3
SHOWN_RANKS = 8


def print_check(
    console: Console,
    knobs: Mapping[str, Any],
    violations: Sequence[Violation],
    groups: Mapping[str, list[list[int]]],
    prediction: Prediction | None,
    *,
    brief: bool,
) -> None:
    """Print legality, then groups and memory of a legal layout."""
    console.print(layout_words(knobs))
    if violations:
        console.print(
            f"ILLEGAL: {len(violations)} rule{'s' if len(violations) > 1 else ''} broken", style="bold"
        )
        for violation in violations:
            console.print(f"  {violation.rule}: {violation.message}")
        return
    console.print("legal", style="bold")
    if prediction is not None:
        memory = prediction.memory
        limit = memory.capacity_bytes - memory.reserve_bytes
        verdict = "fits" if memory.fits else "does NOT fit"
        console.print(
            f"{verdict}: {gib(memory.device_used_bytes)} used, {gib(limit)} may be used", style="bold"
        )
    else:
        console.print(f"memory of the schedule {knobs['schedule']} needs plan simulate")
    if brief:
        return
    console.print()
    console.print(groups_table(groups))
    if prediction is not None:
        console.print(memory_table(prediction))


def groups_table(groups: Mapping[str, list[list[int]]]) -> Table:
    """Per mesh axis: how many groups of which size, and the first ones."""
    table = new_table("Rank groups")
    table.add_column("axis")
    table.add_column("size", justify="right")
    table.add_column("groups", justify="right")
    table.add_column("first groups", overflow="fold")
    for axis, members in groups.items():
        if members and len(members[0]) > 1:
            shown = "  ".join(ranks_text(group) for group in members[:SHOWN_GROUPS])
            more = "  ..." if len(members) > SHOWN_GROUPS else ""
            table.add_row(axis, str(len(members[0])), str(len(members)), shown + more)
    return table


def ranks_text(ranks: Sequence[int]) -> str:
    """A group in few characters: ``0-7`` when consecutive, ``0,8,..,56`` with a constant stride, else the ranks."""
    if len(ranks) < 3:
        return ",".join(map(str, ranks))
    steps = {after - before for before, after in itertools.pairwise(ranks)}
    if steps == {1}:
        return f"{ranks[0]}-{ranks[-1]}"
    if len(steps) == 1:
        return f"{ranks[0]},{ranks[1]},..,{ranks[-1]}"
    head = ",".join(map(str, ranks[:SHOWN_RANKS]))
    return head + (",.." if len(ranks) > SHOWN_RANKS else "")
