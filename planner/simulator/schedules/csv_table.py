"""Whether the cells of a schedule's table fit together; every fault names its rank and column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from planner.errors import PlannerError
from planner.simulator.schedules.schedule import Kind
from planner.simulator.schedules.tokens import Row, token

_KINDS = tuple(Kind)

Key = tuple[Kind, int, int]

_SENDS = {Kind.SEND_F: (Kind.RECV_F, 1), Kind.SEND_B: (Kind.RECV_B, -1)}
_RECEIVES = {Kind.RECV_F: (Kind.SEND_F, -1), Kind.RECV_B: (Kind.SEND_B, 1)}
_REPEATABLE = (Kind.UNSHARD, Kind.RESHARD, Kind.REDUCE_GRAD)


@dataclass(frozen=True, slots=True)
class Cell:
    """One action and where it stands (line and column from 1)."""

    row: Row
    line: int
    rank: int
    column: int

    @property
    def parts(self) -> list[Key]:
        """(kind, stage, micro-batch) of the action, or of both halves."""
        kind, stage, unit, stage2, unit2 = self.row
        if kind == Kind.OVERLAP_F_B:
            return [(Kind.F, stage, unit), (Kind.B, stage2, unit2)]
        return [(_KINDS[kind], stage, unit)]

    def __str__(self) -> str:
        return f"{token(self.row)} at rank {self.rank}, column {self.column}"


@dataclass(frozen=True)
class Table:
    """The cells of every rank's row."""

    file: Path
    rows: list[list[Cell]]

    def check(self) -> list[int]:
        """The rank of every stage.

        Raises:
            PlannerError: see ``read_schedule``.
        """
        ranks = self._placement()
        self._each_pass(len(ranks))
        self._transfers(ranks)
        return ranks

    @cached_property
    def where(self) -> dict[Key, Cell]:
        """The cell of every pass and transfer."""
        found: dict[Key, Cell] = {}
        for row in self.rows:
            for cell in row:
                for part in cell.parts:
                    if part[0] in _REPEATABLE:
                        continue
                    first = found.setdefault(part, cell)
                    if first is not cell:
                        self._fail(cell, f"{_text(part)} is there already: {first}")
        return found

    @cached_property
    def micro_batches(self) -> int:
        return 1 + max((unit for _, _, unit in self.where), default=-1)

    def _fail(self, cell: Cell, message: str) -> NoReturn:
        field = f"rank {cell.rank}, column {cell.column}"
        raise PlannerError(message, file=self.file, line=cell.line, field=field)

    def _placement(self) -> list[int]:
        first: dict[int, Cell] = {}
        for row in self.rows:
            for cell in row:
                for _, stage, _ in cell.parts:
                    seen = first.setdefault(stage, cell)
                    if seen.rank != cell.rank:
                        self._fail(cell, f"stage {stage} is on two ranks: {token(cell.row)} here, {seen}")
        for expected, stage in enumerate(sorted(first)):
            if stage != expected:
                self._fail(first[stage], f"no rank has stage {expected}, though stage {stage} is there")
        return [first[stage].rank for stage in range(len(first))]

    def _each_pass(self, stages: int) -> None:
        """F once; B once, or I and W once, for every stage and micro-batch."""
        if not self.where:
            self._fail(self.rows[0][0], f"no rank computes: {self.rows[0][0]} is no pass")
        if len(self.where) * 3 < stages * self.micro_batches:
            self._sparse()
        for stage in range(stages):
            for unit in range(self.micro_batches):
                has = [(kind, stage, unit) in self.where for kind in (Kind.F, Kind.B, Kind.I, Kind.W)]
                if has not in ([True, True, False, False], [True, False, True, True]):
                    self._wrong_pass(stage, unit, has)

    def _sparse(self) -> NoReturn:
        """A number so large that most micro-batches are missing: name it without counting up to it."""
        part = max(self.where, key=lambda part: part[2])
        message = f"{_text(part)} is the last of {part[2] + 1} micro-batches, most of which are missing"
        self._fail(self.where[part], message)

    def _wrong_pass(self, stage: int, unit: int, has: list[bool]) -> NoReturn:
        forward, whole, inputs, weights = has
        cell = self._nearest(stage, unit)
        if whole and (inputs or weights):
            other = Kind.I if inputs else Kind.W
            cell = self.where[other, stage, unit]
            both = f"{stage}B{unit} and {stage}{other.name}{unit}"
            self._fail(
                cell, f"{both} are both there; accepted: B, or I and W ({self.where[Kind.B, stage, unit]})"
            )
        missing = f"{stage}F{unit}"
        if forward:
            missing = {(True, False): f"{stage}W{unit}", (False, True): f"{stage}I{unit}"}.get(
                (inputs, weights), f"{stage}B{unit}"
            )
        last = self.micro_batches - 1
        message = f"{missing} is missing: stage {stage} must take micro-batch {unit} of 0 to {last} forward and backward"
        self._fail(cell, f"{message}; nearest is {cell}")

    def _nearest(self, stage: int, unit: int) -> Cell:
        """The cell of the stage and micro-batch, or of the nearest micro-batch on that stage."""
        of_stage = [part for part in self.where if part[1] == stage]
        if not of_stage:
            return next(cell for row in self.rows for cell in row if any(p[1] == stage for p in cell.parts))
        return self.where[min(of_stage, key=lambda part: (abs(part[2] - unit), part[0]))]

    def _transfers(self, ranks: list[int]) -> None:
        """Every send has its receive on the neighbouring stage, and if there are any, every hop has them."""
        partners = _SENDS | _RECEIVES
        explicit = False
        for (kind, stage, unit), cell in self.where.items():
            if kind not in partners:
                continue
            explicit = True
            wanted, step = partners[kind]
            partner = (wanted, stage + step, unit)
            if partner not in self.where:
                self._fail(cell, f"{_text((kind, stage, unit))} has no partner: {_text(partner)} is missing")
            if ranks[stage + step] == cell.rank:
                message = (
                    f"{_text((kind, stage, unit))} goes nowhere: stage {stage + step} is on the same rank"
                )
                self._fail(cell, message)
        if explicit:
            self._every_hop(ranks)

    def _every_hop(self, ranks: list[int]) -> None:
        for (kind, stage, unit), cell in self.where.items():
            source = stage - 1 if kind == Kind.F else stage + 1
            if kind not in (Kind.F, Kind.B, Kind.I) or not 0 <= source < len(ranks):
                continue
            receive = (Kind.RECV_F if kind == Kind.F else Kind.RECV_B, stage, unit)
            if ranks[source] != cell.rank and receive not in self.where:
                message = f"{_text((kind, stage, unit))} has no input: {_text(receive)} is missing"
                self._fail(cell, message)


def _text(part: Key) -> str:
    kind, stage, unit = part
    return f"{stage}{kind.name}{unit}"
