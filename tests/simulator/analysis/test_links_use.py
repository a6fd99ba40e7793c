"""Link use by hand: bytes, shares, series."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulator.analysis.links_use import (
    axis_use,
    busiest_links,
    level_utilisation,
    link_series,
    utilisation,
)
from tests.simulator.analysis.programs import two_stages

LEVELS = ("nvlink",)
DEVICES = (0, 12)


def test_utilisation_is_bytes_over_capacity_and_makespan() -> None:
    program, execution, _ = two_stages()
    # 100 bytes/s for 11.5 s; rank 1's links carry 2 hops of 40 and one reduction of 70.
    assert utilisation(program, execution).tolist() == pytest.approx([80 / 1150] * 2 + [150 / 1150] * 2)
    assert level_utilisation(program, execution) == {0: pytest.approx(115 / 1150)}


def test_busiest_links_in_words() -> None:
    program, execution, _ = two_stages()
    first, second = busiest_links(program, execution, LEVELS, DEVICES, count=2)
    assert first.name == "nvlink, device 12 sends"
    assert second.name == "nvlink, device 12 receives"
    assert first.carried_bytes == 150.0
    assert busiest_links(program, execution, (), DEVICES, count=1)[0].name == "host, device 12 sends"


def test_axes_by_hand() -> None:
    program, execution, _ = two_stages()
    use = {item.axis: item for item in axis_use(program, execution)}
    assert sorted(use) == ["dp", "pp", "tp"]
    assert use["pp"].sent_bytes.tolist() == [80.0, 80.0]
    # Four hops of 0.5 s, both ranks take part in each.
    assert use["pp"].seconds.tolist() == pytest.approx([2.0, 2.0])
    assert use["dp"].sent_bytes.tolist() == [0.0, 70.0]
    assert use["tp"].seconds.tolist() == [1.5, 0.0]


def test_a_series_holds_every_byte() -> None:
    program, execution, _ = two_stages()
    (series,) = link_series(program, execution, [2])
    widths = np.diff(series.times)
    assert (series.rate[:-1] * widths).sum() == pytest.approx(150.0)
    assert series.rate[-1] == 0.0
    # 70 bytes in 3.5 s, and beside them from 7.6 to 8 the hop of B1 with 40 bytes in 0.4 s.
    at = series.rate[np.searchsorted(series.times, [7.55, 7.8, 9.0], side="right") - 1]
    assert at.tolist() == pytest.approx([20.0, 120.0, 20.0])
