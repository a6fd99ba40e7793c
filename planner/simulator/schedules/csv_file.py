"""Schedules in the CSV form of torch.distributed.pipelining: a row per rank, a cell per action."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import NoReturn

import numpy as np

from planner.documents.reading import read_text
from planner.documents.writing import write_text
from planner.errors import PlannerError
from planner.simulator.schedules.check import deadlock
from planner.simulator.schedules.csv_table import Cell, Table
from planner.simulator.schedules.schedule import Actions, Schedule, one_chain
from planner.simulator.schedules.tokens import parse_token, rows, token
from planner.simulator.schedules.transfers import with_transfers

MAX_BYTES = 16 * 2**20
"""Some two million actions."""

_EXAMPLES = "2F0, 2B0, 7I3, 7W3, (0F7;7B3)OVERLAP_F_B, 1SEND_F0, 2RECV_F0, 3UNSHARD"


def read_schedule(path: str | Path) -> Schedule:
    """The schedule in a file that PyTorch's ``_dump_csv`` or ``write_schedule`` wrote (compute_only or compute_comms).

    Which rank holds a stage follows from the rows; stages form one chain 0, 1, 2, ...; empty cells are skipped.

    Raises:
        PlannerError: not such a file, or a schedule that cannot run: an action that is unknown, missing, double or on the
            wrong rank, a transfer without partner, ranks that wait for one another. Names line, rank and column (line and
            column count from 1, ranks from 0).
    """
    file = Path(path)
    table = Table(file, _cells(file))
    stages = table.check()
    rank_of = np.array([stages[stage] for stage in range(len(stages))], dtype=np.int64)
    actions = tuple(Actions.of([cell.row for cell in row]) for row in table.rows)
    schedule = one_chain(file.name, rank_of, table.micro_batches, actions)
    waits = deadlock(schedule)
    if waits is not None:
        raise PlannerError(f"the schedule deadlocks: {waits}", file=file, field="schedule")
    return schedule


def _cells(file: Path) -> list[list[Cell]]:
    """For each rank its actions."""
    text = read_text(file, "a schedule in CSV form", limit_bytes=MAX_BYTES)
    if not text.strip(" \t\r\n,"):
        raise PlannerError("is empty; a row of actions per rank is accepted", file=file)
    reader = csv.reader(StringIO(text.rstrip(), newline=""))
    result: list[list[Cell]] = []
    try:
        for rank, row in enumerate(reader):
            cells = []
            for column, cell in enumerate(row, 1):
                word = cell.strip()
                if not word:
                    continue
                parsed = parse_token(word)
                if parsed is None:
                    _unknown(word, file, reader.line_num, rank, column)
                cells.append(Cell(parsed, reader.line_num, rank, column))
            if not cells:
                message = f"rank {rank} has no actions; a row of actions per rank is accepted"
                raise PlannerError(message, file=file, line=reader.line_num, field="schedule")
            result.append(cells)
    except csv.Error as error:
        raise PlannerError(f"is not CSV: {error}", file=file, line=reader.line_num) from None
    return result


def _unknown(word: str, file: Path, line: int, rank: int, column: int) -> NoReturn:
    shown = word if len(word) <= 40 else word[:40] + "..."
    message = f"'{shown}' is not an action; accepted are such as {_EXAMPLES}"
    raise PlannerError(message, file=file, line=line, field=f"rank {rank}, column {column}")


def write_schedule(path: str | Path, schedule: Schedule, *, comms: bool = False) -> None:
    """Write a schedule so that PyTorch's ``_load_csv`` reads it.

    Args:
        comms: write sends, receives, parameter gathers and gradient reductions too (PyTorch's format compute_comms; see
            ``with_transfers``); without it PyTorch adds its own.

    Raises:
        PlannerError: a schedule that the format cannot say (two chains, slices of sequences), or a file that cannot be
            written.
    """
    chain = np.arange(schedule.stages)
    if not np.array_equal(schedule.previous, chain - 1) or not np.array_equal(schedule.model_stage, chain):
        message = (
            f"PyTorch's CSV has one chain of stages; {schedule.name} runs two and cannot be written in it"
        )
        raise PlannerError(message, file=path, field="schedule")
    if schedule.slices > 1:
        message = f"PyTorch's CSV knows whole micro-batches; {schedule.name} cuts sequences into {schedule.slices} slices"
        raise PlannerError(message, file=path, field="schedule")
    shown = with_transfers(schedule) if comms else schedule
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([token(row) for row in rows(actions)] for actions in shown.actions)
    write_text(path, text.getvalue())
