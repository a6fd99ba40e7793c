"""The stage problem as arrays: layers in a row, pipeline stages in a row, modes of each layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class StageProblem:
    """Cut a row of L layers into S stages and give every layer a mode (recompute, offload, ...).

    C device classes, K types of layers, M modes. A stage is on one device class. Its seconds per micro-batch, forward
    and backward, are w = ``fixed_s`` + those of its layers; its memory is ``fixed_bytes`` + the static bytes of its
    layers + ``in_flight`` x the bytes that they keep per micro-batch.

    The step lasts max over stages of ((m - 1) w + once) + sum of w, which with equal stages is 1F1B's (m + S - 1) w.

    Args:
        layers: (L,) type of each layer; embedding and head may be layers of a type with one mode, or be fixed parts.
        seconds: (C, K, M) forward and backward of one micro-batch; infinite where a mode does not exist.
        kept_bytes: (C, K, M) kept per micro-batch in flight, at least 0.
        static_bytes: (C, K) whatever the mode: parameters, gradients, optimizer.
        once_s: (C, K) seconds once per step: gradients' exposed traffic, optimizer.
        stage_class: (S,) device class of each stage.
        capacity_bytes, in_flight, fixed_s, fixed_bytes, fixed_once_s: (S,).
        may_be_empty: (S,) whether a stage may do without layers.
        micro_batches: m.
    """

    layers: Ints
    seconds: Floats
    kept_bytes: Floats
    static_bytes: Floats
    once_s: Floats
    stage_class: Ints
    capacity_bytes: Floats
    in_flight: Floats
    fixed_s: Floats
    fixed_bytes: Floats
    fixed_once_s: Floats
    may_be_empty: Flags
    micro_batches: int

    @property
    def stages(self) -> int:
        return len(self.stage_class)

    @property
    def types(self) -> int:
        return int(self.seconds.shape[1])

    @property
    def modes(self) -> int:
        return int(self.seconds.shape[2])


def stage_problem(
    layers: Ints,
    seconds: Floats,
    kept_bytes: Floats,
    capacity_bytes: Floats,
    micro_batches: int,
    *,
    static_bytes: Floats | None = None,
    once_s: Floats | None = None,
    stage_class: Ints | None = None,
    in_flight: Floats | None = None,
    fixed_s: Floats | None = None,
    fixed_bytes: Floats | None = None,
    fixed_once_s: Floats | None = None,
    may_be_empty: Flags | None = None,
) -> StageProblem:
    """A problem with the usual defaults: one device class, nothing fixed or static, 1F1B's micro-batches in flight.

    Args:
        seconds, kept_bytes: (C, K, M), or (K, M) for one device class.
        capacity_bytes: (S,).

    Raises:
        ValueError: shapes do not agree, or something negative.
    """
    stages = len(capacity_bytes)
    times, kept = (np.array(table, np.float64, ndmin=3) for table in (seconds, kept_bytes))
    kinds = times.shape[:2]
    order = np.minimum(stages - np.arange(stages), micro_batches).astype(np.float64)
    problem = StageProblem(
        np.asarray(layers, np.int64),
        times,
        kept,
        _table(static_bytes, kinds),
        _table(once_s, kinds),
        np.zeros(stages, np.int64) if stage_class is None else np.asarray(stage_class, np.int64),
        np.asarray(capacity_bytes, np.float64),
        order if in_flight is None else np.asarray(in_flight, np.float64),
        _table(fixed_s, (stages,)),
        _table(fixed_bytes, (stages,)),
        _table(fixed_once_s, (stages,)),
        np.zeros(stages, np.bool_) if may_be_empty is None else np.asarray(may_be_empty, np.bool_),
        micro_batches,
    )
    _check(problem)
    return problem


def _table(values: Floats | None, shape: tuple[int, ...]) -> Floats:
    if values is None:
        return np.zeros(shape)
    return np.asarray(values, np.float64).reshape(shape)


def _check(problem: StageProblem) -> None:
    stages = (problem.stages,)
    if problem.kept_bytes.shape != problem.seconds.shape:
        raise ValueError("seconds and kept_bytes must have one shape")
    if problem.in_flight.shape != stages or problem.capacity_bytes.shape != stages:
        raise ValueError("in_flight and stage_class need one entry per stage")
    if not 0 <= problem.layers.min() <= problem.layers.max() < problem.types:
        raise ValueError("layers must be numbers of types")
    if not 0 <= problem.stage_class.min() <= problem.stage_class.max() < len(problem.seconds):
        raise ValueError("stage_class must be numbers of device classes")
    tables = (problem.seconds, problem.kept_bytes, problem.static_bytes, problem.once_s, problem.fixed_s)
    if any((table < 0).any() for table in tables) or (problem.in_flight <= 0).any():
        raise ValueError("seconds and bytes must be at least 0, micro-batches in flight above 0")
