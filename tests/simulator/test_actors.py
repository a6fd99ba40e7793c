"""Devices that act alike: counts by hand, equitability from its definition, coarseness against a plain refinement."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.layouts.groups import rank_groups
from planner.layouts.layout import DEFAULT_AXIS_ORDER, Layout, Shard
from planner.simulator.actors import IDLE, Actors, partition
from planner.simulator.device_groups import device_groups

Floats = NDArray[np.float64]

AXES = ("tp", "ulysses", "ring", "dp_cp", "etp", "ep", "edp")


def degraded(devices: int, **shares: float) -> Floats:
    speed = np.ones(devices)
    for device, share in shares.items():
        speed[int(device.removeprefix("d"))] = share
    return speed


def size_of(layout: Layout) -> int:
    return layout.tp * layout.cp * layout.pp * layout.dp


@pytest.mark.parametrize(
    "layout",
    [
        Layout(tp=4, pp=4, dp=3),
        Layout(tp=2, ulysses=2, ring=2, pp=3, dp=4, ep=8, shard=Shard(4, 4, 8)),
        Layout(tp=2, pp=2, dp=4, axis_order=("pp", "tp", "cp", "ep", "dp")),
        Layout(dp=8),
        Layout(pp=8),
        Layout(),
    ],
)
def test_equal_devices_of_a_pipeline_rank_act_alike(layout: Layout) -> None:
    actors = partition(layout, size_of(layout))
    assert actors.pipeline_rank.tolist() == list(range(layout.pp))
    assert actors.weight.tolist() == [size_of(layout) // layout.pp] * layout.pp
    for axis in AXES:
        assert actors.groups(device_groups(layout, axis)) == tuple((rank,) for rank in range(layout.pp))


@pytest.mark.parametrize(("tp", "pp", "dp"), [(4, 4, 3), (8, 2, 8), (8, 1, 8)])
def test_one_slow_device_makes_four_kinds_per_pipeline_rank(tp: int, pp: int, dp: int) -> None:
    """Itself, the others of its tp group, the others of its dp group, the rest; along its pipeline the same."""
    layout = Layout(tp=tp, pp=pp, dp=dp)
    actors = partition(layout, size_of(layout), speed=degraded(size_of(layout), d1=0.5))
    assert len(actors) == 4 * pp
    rank0 = np.sort(actors.weight[actors.pipeline_rank == 0]).tolist()
    assert rank0 == sorted([1, tp - 1, dp - 1, (tp - 1) * (dp - 1)])
    assert actors.speed[actors.of_device[1]] == 0.5


def test_the_slow_device_in_its_groups_by_hand() -> None:
    """tp 2, dp 3, device 0 slow. 0 slow, 1 beside it, {2, 4} its replicas, {3, 5} the rest: actors 0, 1, 2, 3."""
    layout = Layout(tp=2, dp=3)
    actors = partition(layout, 6, speed=degraded(6, d0=0.8))
    assert actors.device.tolist() == [0, 1, 2, 3]
    assert actors.of_device.tolist() == [0, 1, 2, 3, 2, 3]
    assert actors.weight.tolist() == [1, 1, 2, 2]
    assert actors.groups(device_groups(layout, "tp")) == ((0, 1), (2, 3))
    assert actors.groups(device_groups(layout, "dp")) == ((0, 2), (1, 3))


def test_a_slow_link_tells_devices_apart_like_a_slow_device() -> None:
    layout = Layout(tp=2, pp=2, dp=4)
    factors = np.ones((16, 3))
    factors[5, 1] = 0.5
    by_link = partition(layout, 16, link_factors=factors)
    by_speed = partition(layout, 16, speed=degraded(16, d5=0.5))
    assert by_link.of_device.tolist() == by_speed.of_device.tolist()
    assert by_link.speed.tolist() == [1.0] * len(by_link)


def test_unmerged_devices_are_their_own_actors() -> None:
    layout = Layout(tp=2, pp=2, dp=2)
    actors = partition(layout, 8, merge="none")
    assert actors.of_device.tolist() == list(range(8))
    assert actors.groups(device_groups(layout, "tp")) == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert actors.along_pipeline(1, 1) == 5
    assert actors.along_pipeline(5, 0) == 1


def test_devices_beyond_the_layout_are_idle() -> None:
    actors = partition(Layout(dp=3), 5, speed=degraded(5, d4=0.5))
    assert actors.of_device.tolist() == [0, 0, 0, IDLE, IDLE]


def test_too_few_devices() -> None:
    with pytest.raises(ValueError, match="needs 16 devices, there are 8"):
        partition(Layout(tp=16), 8)


def test_further_meetings_tell_apart() -> None:
    """tp 4 on one device group; pairs of neighbours exchange something of their own: the partner of the slow one differs."""
    layout = Layout(tp=4)
    slow = degraded(4, d0=0.5)
    assert len(partition(layout, 4, speed=slow)) == 2
    pairs = device_groups(layout, "tp", size=2)
    assert partition(layout, 4, speed=slow, meetings=[pairs]).of_device.tolist() == [0, 1, 2, 2]


def test_a_hundred_thousand_devices() -> None:
    """One slow device and one slow link: a few kinds, whose weights add up."""
    layout = Layout(tp=8, pp=16, dp=768)
    factors = np.ones((98304, 3))
    factors[90000, 1] = 0.5
    actors = partition(layout, 98304, speed=degraded(98304, d4711=0.8), link_factors=factors)
    assert actors.weight.sum() == 98304
    assert len(actors) <= 16 * 16


@st.composite
def perturbed(draw: st.DrawFn) -> tuple[Layout, Floats]:
    tp, ulysses, ring = (draw(st.sampled_from([1, 2, 3])) for _ in range(3))
    pp, dp = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 4]))
    inside = tp * ulysses * ring * dp
    ep = draw(st.sampled_from([n for n in range(1, inside // tp + 1) if (inside // tp) % n == 0]))
    shard = draw(st.sampled_from([n for n in (1, 2, ulysses * ring * dp) if ulysses * ring * dp % n == 0]))
    order = draw(st.sampled_from([order for order in permutations(DEFAULT_AXIS_ORDER) if order[-1] == "pp"]))
    layout = Layout(
        tp=tp, ulysses=ulysses, ring=ring, pp=pp, dp=dp, ep=ep, etp=tp, shard=Shard(1, 1, shard), axis_order=order
    )  # fmt: skip
    speed = np.ones(inside * pp)
    for device in draw(st.lists(st.integers(0, inside * pp - 1), max_size=3)):
        speed[device] = draw(st.sampled_from([0.5, 0.8]))
    return layout, speed


def met(layout: Layout) -> list[list[list[int]]]:
    """Groups in which devices wait for each other."""
    groups = rank_groups(layout, size_of(layout))
    return [*(groups[axis] for axis in AXES), *parts(groups["dp_cp"], layout), *parts(groups["edp"], layout)]


def parts(groups: list[list[int]], layout: Layout) -> list[list[list[int]]]:
    """Shard groups, and the replicas of each shard."""
    ranks, n = len(groups[0]), layout.shard.optimizer
    if ranks % n:
        return []
    shards = [group[first : first + n] for group in groups for first in range(0, ranks, n)]
    return [shards, [group[first::n] for group in groups for first in range(n)]]


@given(perturbed())
def test_devices_of_one_kind_meet_the_same_kinds(case: tuple[Layout, Floats]) -> None:
    """The definition of an equitable partition, and each actor in one set per axis."""
    layout, speed = case
    actors = partition(layout, len(speed), speed=speed)
    kind = actors.of_device.tolist()
    for groups in met(layout):
        seen: dict[int, Counter[int]] = {}
        for group in groups:
            kinds = Counter(kind[device] for device in group)
            assert all(seen.setdefault(one, kinds) == kinds for one in kinds)
    column: dict[int, list[int]] = {}
    for group in rank_groups(layout, len(speed))["pp"]:
        for device in group:
            pipeline = [kind[other] for other in group]
            assert column.setdefault(kind[device], pipeline) == pipeline
            assert speed[device] == actors.speed[kind[device]]
            assert [actors.along_pipeline(kind[device], r) for r in range(layout.pp)] == pipeline
    for axis in AXES:
        once = [one for group in actors.groups(device_groups(layout, axis)) for one in group]
        assert sorted(once) == list(range(len(actors)))


@settings(max_examples=40)
@given(perturbed())
def test_no_coarser_partition_would_do(case: tuple[Layout, Floats]) -> None:
    """Splitting from speed and pipeline rank by what devices see, one device at a time, ends with as many kinds."""
    layout, speed = case
    actors = partition(layout, len(speed), speed=speed)
    assert len(actors) == plain_refinement(layout, speed)
    check_weights(actors)


def check_weights(actors: Actors) -> None:
    assert actors.weight.tolist() == [actors.of_device.tolist().count(one) for one in range(len(actors))]
    assert [int(actors.of_device[device]) for device in actors.device] == list(range(len(actors)))


def plain_refinement(layout: Layout, speed: Floats) -> int:
    """How many kinds remain when devices split while any two of a kind see different neighbours."""
    columns = rank_groups(layout, len(speed))["pp"]
    rank = {device: place for column in columns for place, device in enumerate(column)}
    colour = {device: hash((rank[device], float(speed[device]))) for device in rank}
    while True:
        seen: dict[int, list[object]] = {device: [colour[device]] for device in colour}
        for groups in met(layout):
            for group in groups:
                for device in group:
                    seen[device].append(tuple(sorted(colour[other] for other in group)))
        for column in columns:
            for device in column:
                seen[device].append(tuple(colour[other] for other in column))
        finer = {device: hash(tuple(view)) for device, view in seen.items()}
        if len(set(finer.values())) == len(set(colour.values())):
            return len(set(finer.values()))
        colour = finer
