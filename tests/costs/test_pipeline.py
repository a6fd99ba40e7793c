"""Closed forms of schedules against the table of docs/schedules.md, worked by hand, and against an enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from planner.costs.pipeline import hop_count, in_flight, keeps_logits, waiting
from planner.layouts.layout import SCHEDULES, Schedule


def column(value: int) -> np.ndarray:
    return np.array([value], dtype=np.int64)


def code(name: Schedule) -> np.ndarray:
    return column(SCHEDULES.index(name))


def shape(name: Schedule, pp: int, vpp: int, micro_batches: int) -> dict[str, np.ndarray]:
    return {
        "schedule": code(name),
        "pp": column(pp),
        "vpp": column(vpp),
        "micro_batches": column(micro_batches),
    }


@pytest.mark.parametrize(
    ("name", "vpp", "expected"),
    [
        # p = 4, m = 16, f = 2 s, b = 5 s of which w = 2 s, so bi = 3 s.
        ("gpipe", 1, 3 * 7.0),
        ("1f1b", 1, 3 * 7.0),
        ("eager_1f1b", 1, 3 * 7.0),
        ("interleaved_1f1b", 4, 3 * 7.0 / 4),
        ("looped_bfs", 2, 3 * 7.0 / 2),
        ("zb_h1", 1, 3 * (2.0 + 1.0)),
        ("interleaved_zb", 2, 3 * 3.0 / 2),
        ("zb_h2", 1, 3 * 2.0),
        ("zb_v", 2, 3 * 3.0 / 2),
        ("dualpipe", 1, 2 * 2.0 + 1.0),
        ("dualpipe_v", 2, (2 * 2.0 + 3 * 3.0 + 3 * 1.0) / 2),
    ],
)
def test_fill(name: Schedule, vpp: int, expected: float) -> None:
    f, b, w = np.array([2.0]), np.array([5.0]), np.array([2.0])
    assert waiting(shape(name, 4, vpp, 16), [range(4)], [(f, b, w)])[0][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "pp", "vpp", "expected"),
    [
        ("zb_h1", 8, 1, 7.0),  # (p - 1)(f + bi - w), arXiv 2401.10241, table 2
        ("zb_h2", 8, 1, 7.0),  # its 0 of a rank is the global (p - 1) f
        ("zb_v", 8, 2, 3.5),
        ("dualpipe", 8, 1, 3 * (3 + 2 - 3)),  # (p / 2 - 1)(F&B + B - 3 W), arXiv 2412.19437, table 2
        ("dualpipe_v", 8, 2, 7 * (3 + 2 - 3) / 2),
    ],
)
def test_published_bubbles_of_equal_passes(name: Schedule, pp: int, vpp: int, expected: float) -> None:
    """f = bi = w = 1; the fused F&B of DualPipe takes f + b."""
    one = np.array([1.0])
    found = waiting(shape(name, pp, vpp, 32), [range(pp)], [(one, 2 * one, one)])[0][0]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("micro_batches", "expected"), [(1, 2 + 3), (2, 2 + 3 - 2 / 3), (4, 2 + 1), (9, 2 + 1)]
)
def test_few_micro_batches_have_few_weight_gradients_to_fill_with(
    micro_batches: int, expected: float
) -> None:
    """ZB-H1, p = 4: one micro-batch passes p f + p bi and ends with a weight gradient; from m = p on all gaps are filled."""
    f, b, w = np.array([2.0]), np.array([5.0]), np.array([2.0])
    assert waiting(shape("zb_h1", 4, 1, micro_batches), [range(4)], [(f, b, w)])[0][0] == pytest.approx(
        3 * expected
    )


@pytest.mark.parametrize(
    ("name", "pp", "vpp", "micro_batches", "expected"),
    [
        ("gpipe", 4, 1, 16, 6.0),
        ("eager_1f1b", 4, 1, 16, 6.0),
        ("1f1b", 4, 1, 16, 2 * 3 * (4 + 1) - 2),
        ("interleaved_1f1b", 4, 2, 16, 14.0),
        ("zb_h1", 4, 1, 16, 12.0),
        ("zb_v", 4, 2, 16, 13.0),
        ("1f1b", 8, 1, 12, 32.0),
        ("looped_bfs", 4, 2, 16, 6.0),
        ("looped_bfs", 4, 2, 4, 14.0),
        ("interleaved_zb", 8, 4, 16, 52.0),
        ("zb_h2", 4, 1, 16, 3.0),
        ("dualpipe", 8, 1, 32, 37.0),
        ("dualpipe_v", 8, 2, 32, 68.0),
        ("1f1b", 1, 1, 16, 0.0),
    ],
)
def test_hops(name: Schedule, pp: int, vpp: int, micro_batches: int, expected: float) -> None:
    assert hop_count(code(name), column(pp), column(vpp), column(micro_batches))[0] == expected


def most_alive(order: list[str]) -> int:
    """The largest surplus of forwards over backwards in a rank's order."""
    alive = largest = 0
    for action in order:
        alive += 1 if action == "F" else -1
        largest = max(largest, alive)
    return largest


def rank_order(warm_up: int, total: int) -> list[str]:
    """``warm_up`` forwards, then one forward and one backward in turn, then the backwards that are left."""
    first = min(warm_up, total)
    return ["F"] * first + ["F", "B"] * (total - first) + ["B"] * first


@pytest.mark.parametrize("pp", [2, 3, 4, 8])
@pytest.mark.parametrize("micro_batches", [1, 2, 5, 8, 24])
def test_in_flight_of_1f1b_is_that_of_its_order(pp: int, micro_batches: int) -> None:
    """PipeDream-flush (arXiv 2104.04473): rank r runs p - 1 - r forwards before the first pair."""
    for rank in range(pp):
        expected = most_alive(rank_order(pp - 1 - rank, micro_batches))
        found = in_flight(code("1f1b"), column(pp), column(1), column(micro_batches), rank)[0]
        assert found == expected


@pytest.mark.parametrize(("pp", "vpp"), [(2, 2), (4, 2), (4, 3), (8, 5)])
@pytest.mark.parametrize("rounds", [1, 2, 6])
def test_in_flight_of_interleaved_1f1b_is_that_of_its_order(pp: int, vpp: int, rounds: int) -> None:
    """Megatron warms up with 2 (p - 1 - r) + (v - 1) p chunk passes (arXiv 2104.04473, section 2.2)."""
    micro_batches = rounds * pp
    for rank in range(pp):
        order = rank_order(2 * (pp - 1 - rank) + (vpp - 1) * pp, micro_batches * vpp)
        found = in_flight(code("interleaved_1f1b"), column(pp), column(vpp), column(micro_batches), rank)[0]
        assert found * vpp == pytest.approx(most_alive(order))


@pytest.mark.parametrize(
    ("name", "vpp", "expected"),
    [
        ("gpipe", 1, 12.0),
        ("looped_bfs", 2, 12.0),
        ("eager_1f1b", 1, 5.0),
        ("zb_h1", 1, 4.0),
        ("zb_h2", 1, 7.0),
        ("zb_v", 2, 4.0),
        ("dualpipe", 1, 2.5),
        ("dualpipe_v", 2, 4.5),
    ],
)
def test_in_flight_of_other_schedules(name: Schedule, vpp: int, expected: float) -> None:
    """Rank 1 of 4, 12 micro-batches."""
    assert in_flight(code(name), column(4), column(vpp), column(12), 1)[0] == expected


def test_only_schedules_without_early_backward_keep_all_logits() -> None:
    kept = [name for name in SCHEDULES if keeps_logits(code(name))[0]]
    assert kept == ["gpipe", "looped_bfs"]


def unequal_makespan(forward: list[float], backward: list[float], micro_batches: int) -> float:
    """Makespan of 1F1B by playing every rank's order with its dependences, no hop latency."""
    ranks = len(forward)
    orders = [rank_order(ranks - 1 - rank, micro_batches) for rank in range(ranks)]
    done: dict[tuple[str, int, int], float] = {}
    clock, place, counts = [0.0] * ranks, [0] * ranks, [{"F": 0, "B": 0} for _ in range(ranks)]
    while any(place[rank] < len(orders[rank]) for rank in range(ranks)):
        for rank in range(ranks):
            while place[rank] < len(orders[rank]):
                action = orders[rank][place[rank]]
                index, step = counts[rank][action], -1 if action == "F" else 1
                last = 0 <= rank + step < ranks
                needed = (action, rank + step, index) if last else ("F", rank, index)
                needs = last or action == "B"
                if needs and needed not in done:
                    break
                start = max(clock[rank], done[needed] if needs else 0.0)
                clock[rank] = start + (forward if action == "F" else backward)[rank]
                done[action, rank, index] = clock[rank]
                counts[rank][action] += 1
                place[rank] += 1
    return max(clock)


@pytest.mark.parametrize("micro_batches", [4, 8, 31])
@pytest.mark.parametrize("slow", [None, 0, 1, 2, 3])
def test_makespan_of_1f1b_with_one_slow_rank(micro_batches: int, slow: int | None) -> None:
    """m (f + b) of the slowest rank and its wait: the whole way of one micro-batch through the ranks before it, and of the
    way through those after it what its own warm-up and drain leave."""
    forward, backward = [1.0] * 4, [2.0] * 4
    if slow is not None:
        forward[slow], backward[slow] = 1.5, 3.0
    slowest = 3 if slow is None else slow
    passes = [(np.array([f]), np.array([b]), np.array([0.0])) for f, b in zip(forward, backward, strict=True)]
    fills = waiting(shape("1f1b", 4, 1, micro_batches), [[0], [1], [2], [3]], passes)[slowest][0]
    steady = micro_batches * (forward[slowest] + backward[slowest])
    played = unequal_makespan(forward, backward, micro_batches)
    assert steady + fills == pytest.approx(played)
