"""Actions as PyTorch's schedule tables write them: ``2F0``, ``7I3``, ``(0F7;7B3)OVERLAP_F_B``, ``1SEND_F0``, ``3UNSHARD``."""

from __future__ import annotations

import re

from planner.simulator.schedules.schedule import NONE, Actions, Kind

Row = tuple[int, int, int, int, int]
"""(kind, stage, micro-batch, stage2, micro-batch2), as in ``Actions``."""

_STAGE_ONLY = (Kind.UNSHARD, Kind.RESHARD, Kind.REDUCE_GRAD)
_SINGLE = tuple(kind for kind in Kind if kind != Kind.OVERLAP_F_B)
_NAMES = "|".join(sorted((kind.name for kind in _SINGLE), key=len, reverse=True))
_TOKEN = re.compile(rf"([0-9]{{1,9}})({_NAMES})([0-9]{{0,9}})")
_FUSED = re.compile(r"\(\s*([0-9]{1,9})F([0-9]{1,9})\s*;\s*([0-9]{1,9})B([0-9]{1,9})\s*\)\s*OVERLAP_F_B")


def parse_token(text: str) -> Row | None:
    """The action of one cell without surrounding blanks, or None when it is none.

    Grammar: that of torch.distributed.pipelining.schedules._Action (PyTorch 2.13); OVERLAP_F_B holds an F and a B.
    """
    found = _TOKEN.fullmatch(text)
    if found is not None:
        kind = Kind[found[2]]
        if (kind in _STAGE_ONLY) == bool(found[3]):
            return None
        return (int(kind), int(found[1]), int(found[3] or NONE), NONE, NONE)
    found = _FUSED.fullmatch(text)
    if found is None:
        return None
    stage, unit, stage2, unit2 = (int(part) for part in found.groups())
    return (int(Kind.OVERLAP_F_B), stage, unit, stage2, unit2)


def token(row: Row) -> str:
    """The text of one action; ``parse_token`` gives the action back."""
    kind, stage, unit, stage2, unit2 = row
    if kind == Kind.OVERLAP_F_B:
        return f"({stage}F{unit};{stage2}B{unit2})OVERLAP_F_B"
    return f"{stage}{Kind(kind).name}" + ("" if kind in _STAGE_ONLY else str(unit))


def rows(actions: Actions) -> list[Row]:
    """The actions of one rank as tuples."""
    columns = (actions.kind, actions.stage, actions.micro_batch, actions.stage2, actions.micro_batch2)
    return list(zip(*(column.tolist() for column in columns), strict=True))
