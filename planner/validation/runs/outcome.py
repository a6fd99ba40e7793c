"""What validation knows of one row: measured, predicted, refused, and under which heading it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.validation.runs.clusters import CATALOGUE, Constants
from planner.validation.runs.express import Expressed, express
from planner.validation.runs.measured import measured_seconds
from planner.validation.runs.memory_figures import MemoryFigure, memory_figures
from planner.validation.runs.predicting import Answered, Progress, answer
from planner.validation.runs.readings import Reading
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RunRow
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.votes import Votes

Heading = Literal["complete", "incomplete", "doubtful"]


@dataclass(frozen=True)
class Outcome:
    """One row.

    Args:
        family: under which it is scored; ``heading``: complete rows count, others are reported apart.
        cell: equal for rows that share a vote.
        order_note: why the measured time decides sets of layouts that a model cannot order.
        readings: one per assignment of what the row leaves open; empty when it is refused.
        measured_s: None when no time was measured, or it cannot be turned into seconds (``not_scored`` says why).
        memory: measured figures beside predicted ones; ``memory_doubt``: why they are scored apart.
        model_flops_s: model FLOPs of a step and device over the peak rate: seconds at full speed; ``flops_s``:
            with recompute.
        timed: seconds mean something: the device and the batch are known.
    """

    row: RunRow
    family: str
    heading: Heading
    cell: tuple[Any, ...] | None
    readings: tuple[Reading, ...]
    refused: str | None
    measured_s: float | None
    not_scored: str | None
    memory: tuple[MemoryFigure, ...]
    memory_doubt: str | None
    model_flops_s: float | None
    flops_s: float | None
    timed: bool
    assumed: tuple[str, ...]
    approximated: tuple[str, ...]
    order_note: str | None = None

    @property
    def accelerator(self) -> str:
        return self.row.hardware.accelerator

    @property
    def experts(self) -> bool:
        return self.row.model.moe is not None

    @property
    def predicted_s(self) -> float | None:
        """Geometric middle of the readings."""
        if not self.readings or not self.timed:
            return None
        times = [reading.step_time_s for reading in self.readings]
        return float((min(times) * max(times)) ** 0.5)

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """From the lowest to the highest end of the readings' intervals."""
        if not self.readings or not self.timed:
            return None
        return (
            min(reading.interval_s[0] for reading in self.readings),
            max(reading.interval_s[1] for reading in self.readings),
        )

    @property
    def error(self) -> float | None:
        if self.predicted_s is None or self.measured_s is None:
            return None
        return self.predicted_s / self.measured_s - 1.0

    @property
    def predicted_mfu(self) -> float | None:
        """Utilisation of the prediction, attention counted as the causal half: for ratios between runs of one table."""
        if self.predicted_s is None or self.model_flops_s is None:
            return None
        return self.model_flops_s / self.predicted_s

    @property
    def layout(self) -> Layout | None:
        return self.readings[0].variant.layout if self.readings else None

    @property
    def job(self) -> Job | None:
        return self.readings[0].variant.job if self.readings else None


def outcomes(
    rows: Sequence[RunRow],
    votes: Votes,
    progress: Progress = lambda done, message: None,
    constants: Constants = CATALOGUE,
) -> list[Outcome]:
    """Every row expressed, predicted and compared, in order.

    Args:
        constants: fitted ones (the default) or priors.
    """
    rows = [votes.corrected(row) for row in rows]
    shelf = Shelf()
    expressed: list[Expressed] = []
    refused: dict[str, str] = {}
    for index, row in enumerate(rows):
        progress(0.2 * index / len(rows), "reading rows as jobs")
        try:
            expressed.append(express(row, shelf, constants))
        except Refused as error:
            refused[row.id] = str(error)
    answers = {
        item.expressed.row.id: item
        for item in answer(expressed, lambda done, message: progress(0.2 + 0.8 * done, message))
    }
    return [_outcome(row, votes, answers.get(row.id), refused.get(row.id)) for row in rows]


def _outcome(row: RunRow, votes: Votes, answered: Answered | None, refused: str | None) -> Outcome:
    readings = answered.readings if answered else ()
    measured, not_scored = None, None
    if answered is not None and readings:
        try:
            measured = measured_seconds(row, readings[0].variant.job)
        except Refused as error:
            not_scored = error.reason
        if answered.expressed.untimed is not None:
            measured, not_scored = None, answered.expressed.untimed if measured else not_scored
    heading: Heading = "doubtful" if votes.doubt(row, "time") else "complete"
    full_speed = _full_speed(readings[0]) if readings else None
    return Outcome(
        row=row,
        family=votes.family(row),
        heading=heading if row.complete else "incomplete",
        cell=votes.cell(row),
        readings=readings,
        refused=refused or (answered.refused if answered else None),
        measured_s=measured,
        not_scored=not_scored,
        memory=memory_figures(answered, votes.memory_rank(row)) if answered else (),
        memory_doubt=votes.doubt(row, "memory"),
        model_flops_s=full_speed,
        flops_s=None if full_speed is None else full_speed * _repeated(readings[0]),
        timed=answered is None or answered.expressed.untimed is None,
        assumed=answered.expressed.assumed if answered else (),
        approximated=answered.expressed.approximated if answered else (),
        order_note=votes.order_note(row),
    )


def _full_speed(reading: Reading) -> float:
    job = reading.variant.job
    return model_flops(job) / (peak_flops(job.cluster.accelerator, job.training.precision) * job.devices)


def _repeated(reading: Reading) -> float:
    return repeated(reading.variant.layout, reading.variant.job)


def repeated(layout: Layout, job: Job) -> float:
    """Executed over model FLOPs: full recompute adds one forward pass, a third of forward and backward."""
    if layout.recompute.mode != "full":
        return 1.0
    of_rank = job.model.layers / layout.pp
    repeats = sum(min(of_rank, layout.recomputed_on(rank, job.model.layers)) for rank in range(layout.pp))
    return 1.0 + repeats / job.model.layers / 3.0
