"""The format of published timings: what each point measured, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.documents import load_text
from planner.errors import PlannerError
from planner.validation.collectives.published import PublishedPoint, published_points

SOURCES = "sources:\n  s: {ref: a page, tool: nccl-tests, hw: '1 node, 8x A100', nodes: 1}\npoints:\n"
GOOD = "id: p, source: s, collective: all_reduce, ranks: 8"


def points(*rows: str) -> list[PublishedPoint]:
    text = SOURCES + "".join(f"- {{{row}}}\n" for row in rows)
    return published_points(load_text(text, Path("points.yaml")))


@pytest.mark.parametrize(
    ("figure", "seconds"),
    [
        ("time_us: 250", 250e-6),
        ("algbw_GBps: 100", 2**30 / 100e9),
        ("busbw_GBps: 175", 2**30 / 100e9),  # 2 x 7/8 x algbw
        ("time_us: 250, busbw_GBps: 1", 250e-6),
    ],
)
def test_seconds_of_a_point(figure: str, seconds: float) -> None:
    (point,) = points(f"{GOOD}, bytes: 1073741824, {figure}")
    assert point.seconds(2.0**30) == pytest.approx(seconds)


def test_an_all_gather_counts_its_whole_output_once() -> None:
    (point,) = points("id: p, source: s, collective: all_gather, ranks: 8, bytes: 1000, busbw_GBps: 7")
    assert point.seconds(1000.0) == pytest.approx(1000 * 7 / 8 / 7e9)


def test_the_last_digit_is_that_of_the_column() -> None:
    rows = [f"{GOOD}, bytes: 8, busbw_GBps: {value}" for value in ("1.2", "2.17", "4.86", "9.54")]
    assert [point.half_width for point in points(*rows)] == pytest.approx([0.005] * 4)
    assert points(*rows)[0].relative_half_width == pytest.approx(0.005 / 1.2)


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        (
            "id: p, source: t, collective: all_reduce, ranks: 8, bytes: 8, time_us: 1",
            "source",
            "unknown source 't'",
        ),
        (
            "id: p, source: s, collective: all_reduced, ranks: 8, time_us: 1",
            "collective",
            "did you mean 'all_reduce'",
        ),
        (f"{GOOD}, bytes: 8", None, "states no figure"),
        (f"{GOOD}, time_us: 8", "bytes", "is missing"),
        (f"{GOOD}, bytes: 8, time_us: -1", "time_us", "greater than 0"),
        (f"{GOOD}, bytes: 8, time_us: .nan", "time_us", ""),
        (f"{GOOD}, bytes: 8, time_us: fast", "time_us", "fast"),
        (f"{GOOD}, bytes: -8, time_us: 1", "bytes", ""),
        ("id: p, source: s, collective: all_reduce, bytes: 8, time_us: 1", "ranks", ""),
    ],
)
def test_faults_name_file_line_and_field(row: str, field: str | None, words: str) -> None:
    with pytest.raises(PlannerError) as caught:
        points(f"{GOOD}, bytes: 8, time_us: 1", row)
    error = caught.value
    assert error.file == "points.yaml"
    assert error.line == 5
    assert field is None or field in str(error.field)
    assert words in error.message
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", ["- 1\n", "points: []\nsources: {}\n", "sources: {s: {}}\n", "points: [{id: p}]\n", "x\n"]
)
def test_a_file_of_another_shape(text: str) -> None:
    with pytest.raises(PlannerError, match=r"points\.yaml"):
        published_points(load_text(text, Path("points.yaml")))
