"""Any schedule by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.errors import PlannerError, suggest
from planner.simulator.schedules.controllable import v_half, v_min
from planner.simulator.schedules.dependencies import MAX_ACTIONS
from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.fused import eager_1f1b, gpipe, one_f_one_b
from planner.simulator.schedules.interleaved import interleaved_1f1b, interleaved_zb, looped_bfs
from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Schedule
from planner.simulator.schedules.sequence import seq1f1b
from planner.simulator.schedules.v_shape import dualpipe_v, zb_v
from planner.simulator.schedules.wave import wave
from planner.simulator.schedules.zero_bubble import zb_h1, zb_h2


@dataclass(frozen=True)
class Shape:
    """What a schedule is made for (see ``make_schedule``)."""

    ranks: int
    chunks: int
    micro_batches: int
    group: int | None
    rounds: bool
    slices: int
    passes: StagePasses | None


@dataclass(frozen=True)
class Generator:
    """How a schedule is made, and for which shapes.

    Args:
        build: from a shape.
        passes: of one micro-batch on one stage: 2, or 3 with a split backward.
        chunks: accepted chunks per rank: exactly so many, or None for any.
        grouped: whether ``group`` and ``rounds`` mean something.
        sliced: whether ``slices`` means something.
    """

    build: Callable[[Shape], Schedule]
    passes: int
    chunks: int | None = 1
    grouped: bool = False
    sliced: bool = False


def make_schedule(
    name: str,
    *,
    ranks: int,
    micro_batches: int,
    chunks: int = 1,
    group: int | None = None,
    rounds: bool = False,
    slices: int = 1,
    passes: StagePasses | None = None,
) -> Schedule:
    """The schedule of that name (``planner.layouts.layout.SCHEDULES``).

    Args:
        ranks: pipeline ranks p.
        micro_batches: of one step; DualPipe: of both directions together.
        chunks: virtual stages per rank v.
        group, rounds: of the interleaved schedules, see ``interleaved_1f1b``.
        slices: parts of a sequence, of seq1f1b.
        passes: seconds by stage for the schedules whose order depends on them: wave, v_half, v_min.

    Raises:
        PlannerError: an unknown name, a shape that the schedule cannot have, or more than ``MAX_ACTIONS`` actions.
    """
    generator = GENERATORS.get(name)
    if generator is None:
        raise _refuse(f"unknown schedule '{name}'; {suggest(name, GENERATORS)}")
    shape = Shape(ranks, chunks, micro_batches, group, rounds, slices, passes)
    _check(name, generator, shape)
    return generator.build(shape)


GENERATORS: dict[str, Generator] = {
    "gpipe": Generator(lambda s: gpipe(s.ranks, s.micro_batches), 2),
    "1f1b": Generator(lambda s: one_f_one_b(s.ranks, s.micro_batches), 2),
    "eager_1f1b": Generator(lambda s: eager_1f1b(s.ranks, s.micro_batches), 2),
    "interleaved_1f1b": Generator(
        lambda s: interleaved_1f1b(s.ranks, s.chunks, s.micro_batches, group=s.group, rounds=s.rounds),
        2,
        chunks=None,
        grouped=True,
    ),
    "looped_bfs": Generator(lambda s: looped_bfs(s.ranks, s.chunks, s.micro_batches), 2, chunks=None),
    "zb_h1": Generator(lambda s: zb_h1(s.ranks, s.micro_batches), 3),
    "zb_h2": Generator(lambda s: zb_h2(s.ranks, s.micro_batches), 3),
    "zb_v": Generator(lambda s: zb_v(s.ranks, s.micro_batches), 3, chunks=2),
    "v_half": Generator(lambda s: v_half(s.ranks, s.micro_batches, s.passes), 3, chunks=2),
    "v_min": Generator(lambda s: v_min(s.ranks, s.micro_batches, s.passes), 3, chunks=2),
    "interleaved_zb": Generator(
        lambda s: interleaved_zb(s.ranks, s.chunks, s.micro_batches, group=s.group, rounds=s.rounds),
        3,
        chunks=None,
        grouped=True,
    ),
    "dualpipe": Generator(lambda s: dualpipe(s.ranks, s.micro_batches), 3),
    "dualpipe_v": Generator(lambda s: dualpipe_v(s.ranks, s.micro_batches), 3, chunks=2),
    "wave": Generator(lambda s: wave(s.ranks, s.chunks, s.micro_batches, s.passes), 2, chunks=None),
    "seq1f1b": Generator(lambda s: seq1f1b(s.ranks, s.micro_batches, s.slices), 2, sliced=True),
}


def _check(name: str, generator: Generator, shape: Shape) -> None:
    for label, value in (
        ("ranks", shape.ranks),
        ("chunks", shape.chunks),
        ("micro-batches", shape.micro_batches),
        ("slices", shape.slices),
    ):
        if value < 1:
            raise _refuse(f"{name} with {value} {label}; accepted: at least 1")
    if generator.chunks is not None and shape.chunks != generator.chunks:
        raise _refuse(f"{name} with {shape.chunks} chunks per rank; accepted: {generator.chunks}")
    if not generator.grouped and (shape.group is not None or shape.rounds):
        raise _refuse(f"{name} knows no groups of micro-batches; accepted: for interleaved schedules")
    if not generator.sliced and shape.slices != 1:
        raise _refuse(f"{name} does not cut sequences, found {shape.slices} slices; accepted: for seq1f1b")
    count = shape.ranks * shape.chunks * shape.micro_batches * shape.slices * generator.passes
    if count > MAX_ACTIONS:
        raise _refuse(f"{name} would have {count:.3g} actions; accepted: at most {MAX_ACTIONS:.3g}")


def _refuse(message: str) -> PlannerError:
    return PlannerError(message, field="schedule")
