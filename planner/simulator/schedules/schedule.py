"""What a pipeline schedule is: for every rank an ordered list of actions, and a map from virtual stages to ranks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Kind(IntEnum):
    """What one action does; names as PyTorch's schedule tables use them (torch.distributed.pipelining)."""

    F = 0
    B = 1
    I = 2  # noqa: E741  (input gradient only; PyTorch's letter)
    W = 3
    OVERLAP_F_B = 4
    SEND_F = 5
    RECV_F = 6
    SEND_B = 7
    RECV_B = 8
    UNSHARD = 9
    RESHARD = 10
    REDUCE_GRAD = 11

    @property
    def computes(self) -> bool:
        """Whether it occupies the compute stream."""
        return self <= Kind.OVERLAP_F_B


NONE = -1


@dataclass(frozen=True, eq=False)
class Actions:
    """The ordered actions of one rank, columns of equal length.

    Args:
        kind: codes of ``Kind``.
        stage: virtual stage.
        micro_batch: ``NONE`` for UNSHARD, RESHARD and REDUCE_GRAD.
        stage2, micro_batch2: of OVERLAP_F_B the backward half (the first pair is the forward half), else ``NONE``.
    """

    kind: Integers
    stage: Integers
    micro_batch: Integers
    stage2: Integers
    micro_batch2: Integers

    def __len__(self) -> int:
        return len(self.kind)

    @staticmethod
    def of(rows: list[tuple[int, int, int]] | list[tuple[int, int, int, int, int]]) -> Actions:
        """From rows of (kind, stage, micro_batch) or (kind, stage, micro_batch, stage2, micro_batch2)."""
        width = len(rows[0]) if rows else 5
        table = np.array(rows, dtype=np.int64).reshape(len(rows), width)
        if width == 3:
            table = np.concatenate([table, np.full((len(rows), 2), NONE, dtype=np.int64)], axis=1)
        return Actions(*(np.ascontiguousarray(column) for column in table.T))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Who computes what in which order.

    A chain of virtual stages carries a micro-batch from its first stage to its last and back. Most schedules have one chain
    of all stages; DualPipe has two (one per direction), each with half of the micro-batches.

    Args:
        name: as in ``Layout.schedule``, or the name of a CSV file.
        rank_of: (stages,), the rank that holds each virtual stage.
        previous: (stages,), the stage that a stage's input comes from, ``NONE`` for the first of a chain.
        model_stage: (stages,), which part of the model the stage computes (DualPipe has two copies of each).
        first, count: (stages,), the stage handles micro-batches first .. first + count - 1.
        slices: Seq1F1B cuts each sequence in so many; a "micro-batch" of the actions is then micro-batch * slices + slice.
        actions: one list per rank.
    """

    name: str
    rank_of: Integers
    previous: Integers
    model_stage: Integers
    first: Integers
    count: Integers
    actions: tuple[Actions, ...]
    slices: int = 1

    @property
    def ranks(self) -> int:
        return len(self.actions)

    @property
    def stages(self) -> int:
        return len(self.rank_of)

    @property
    def micro_batches(self) -> int:
        """Units that pass the pipeline in one step (micro-batches x slices)."""
        return int((self.first + self.count).max())

    @property
    def following(self) -> Integers:
        """(stages,), the stage that a stage's output goes to, ``NONE`` for the last of a chain."""
        result = np.full(self.stages, NONE, dtype=np.int64)
        later = np.flatnonzero(self.previous != NONE)
        result[self.previous[later]] = later
        return result


def one_chain(
    name: str, rank_of: Integers, micro_batches: int, actions: tuple[Actions, ...], slices: int = 1
) -> Schedule:
    """A schedule whose stages 0, 1, 2, ... form one chain with ``micro_batches`` units."""
    stages = np.arange(len(rank_of), dtype=np.int64)
    return Schedule(
        name=name,
        rank_of=np.asarray(rank_of, dtype=np.int64),
        previous=stages - 1,
        model_stage=stages,
        first=np.zeros_like(stages),
        count=np.full_like(stages, micro_batches),
        actions=actions,
        slices=slices,
    )
