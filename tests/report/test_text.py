"""Numbers and layouts in words."""

from __future__ import annotations

from typing import Any

import pytest

from planner.report.check import ranks_text
from planner.report.text import gib, layout_words, percent, seconds, share


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (14.414, "14.41 s"), (0.0761, "76.1 ms"), (2.5e-6, "2.5 us"), (1234.5, "1,234.50 s")],
)
def test_seconds(value: float, words: str) -> None:
    assert seconds(value) == words


def test_binary_bytes_and_shares() -> None:
    # 80 GB of HBM are 74.5 GiB.
    assert gib(80e9) == "74.5 GiB"
    assert percent(0.516) == "51.6 %"
    assert share(1.0, 4.0) == "25.0 %"
    assert share(1.0, 0.0) == "-"


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"dp": 8, "micro_batch": 2, "grad_accum": 4}, "dp8 mb2×4"),
        ({"tp": 8, "sp": True, "dp": 1}, "tp8+sp dp1 mb1×1"),
        ({"cp": 8, "ulysses": 2, "cp_kind": "usp", "dp": 1}, "cp8(ulysses2×ring4) dp1 mb1×1"),
        ({"cp": 8, "cp_kind": "allgather", "dp": 1}, "cp8(allgather) dp1 mb1×1"),
        ({"pp": 4, "vpp": 2, "schedule": "interleaved_1f1b", "dp": 1}, "pp4×2 dp1 mb1×1"),
        ({"pp": 4, "vpp": 1, "schedule": "gpipe", "dp": 1}, "pp4(gpipe) dp1 mb1×1"),
        ({"dp": 64, "ep": 8, "etp": 2, "zero_stage": 2}, "dp64 ep8 etp2 zero2 mb1×1"),
        ({"dp": 64, "shard": {"parameters": 8, "gradients": 8, "optimizer": 64}}, "dp64 shard8/8/64 mb1×1"),
        ({"dp": 1, "recompute": "full", "recompute_layers": 10}, "dp1 mb1×1 recompute-full[10]"),
        (
            {"dp": 1, "pp": 3, "recompute": "full", "recompute_layers": [4, 4, 0]},
            "pp3 dp1 mb1×1 recompute-full[2×4+0]",
        ),
        ({"dp": 1, "layers_per_stage": [3, 4, 4, 4, 2, 2]}, "dp1 mb1×1 layers 3+3×4+2×2"),
        (
            {"dp": 1, "offload": {"optimizer": {"tier": "host", "fraction": 0.5}}},
            "dp1 mb1×1 optimizer→host×0.5",
        ),
    ],
)
def test_layouts(knobs: dict[str, Any], words: str) -> None:
    assert layout_words(knobs) == words


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([3], "3"),
        ([0, 8], "0,8"),
        (list(range(8)), "0-7"),
        (list(range(0, 64, 8)), "0,8,..,56"),
        ([0, 1, 8, 9], "0,1,8,9"),
    ],
)
def test_rank_groups(ranks: list[int], words: str) -> None:
    assert ranks_text(ranks) == words
