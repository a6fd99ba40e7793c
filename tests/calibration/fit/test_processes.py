"""Work that is shared out is done once each, whatever the number of processes; a process that dies is noticed."""

from __future__ import annotations

import os

import pytest

from planner.calibration.fit.processes import shared_out
from planner.errors import PlannerError


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_piece_is_done_once(workers: int) -> None:
    assert sorted(shared_out(lambda piece: piece**2, 7, workers)) == [(n, n * n) for n in range(7)]


def test_no_work_is_no_answer() -> None:
    assert not list(shared_out(lambda piece: piece, 0, 2))


def test_a_process_that_ends_early_is_an_error() -> None:
    def work(piece: int) -> int:
        if piece == 2:
            os._exit(1)
        return piece

    with pytest.raises(PlannerError, match="ended early"):
        list(shared_out(work, 4, 2))
