"""Orders of ZB-H1 and ZB-H2, written out by hand."""

from __future__ import annotations

from planner.simulator.schedules.zero_bubble import zb_h1, zb_h2
from tests.simulator.schedules.cells import table


def test_zb_h1() -> None:
    """p = 3: warm-up 2, 1, 0; weight gradients from step 0, 1, 2 on, so that every rank holds three."""
    assert table(zb_h1(3, 4)) == {
        0: ["0F0", "0F1", "0F2", "0I0", "0W0", "0F3", "0I1", "0W1", "0I2", "0W2", "0I3", "0W3"],
        1: ["1F0", "1F1", "1I0", "1F2", "1I1", "1W0", "1F3", "1I2", "1W1", "1I3", "1W2", "1W3"],
        2: ["2F0", "2I0", "2F1", "2I1", "2F2", "2I2", "2W0", "2F3", "2I3", "2W1", "2W2", "2W3"],
    }


def test_zb_h2() -> None:
    """p = 2: 3 and 1 forwards before the first input gradient; weight gradients once more than 0 and 2 of them are done."""
    assert table(zb_h2(2, 4)) == {
        0: ["0F0", "0F1", "0F2", "0I0", "0W0", "0F3", "0I1", "0W1", "0I2", "0W2", "0I3", "0W3"],
        1: ["1F0", "1I0", "1F1", "1I1", "1F2", "1I2", "1W0", "1F3", "1I3", "1W1", "1W2", "1W3"],
    }


def test_one_rank_has_nothing_to_wait_for() -> None:
    assert table(zb_h1(1, 2)) == table(zb_h2(1, 2)) == {0: ["0F0", "0I0", "0W0", "0F1", "0I1", "0W1"]}


def test_one_micro_batch() -> None:
    assert all(cells == [f"{r}F0", f"{r}I0", f"{r}W0"] for r, cells in table(zb_h2(4, 1)).items())
