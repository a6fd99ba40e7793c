"""The largest sequence, micro-batch or depth that fits, and which knob buys more of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from planner.costs.evaluate import memory_totals
from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.prediction import Prediction
from planner.jobs.rules import learned_positions
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import check
from planner.solvers.relaxations import relaxations

Quantity = Literal["seq_len", "micro_batch", "layers"]
QUANTITIES: tuple[Quantity, ...] = ("seq_len", "micro_batch", "layers")

LARGEST = {"seq_len": 2**27, "micro_batch": 2**20, "layers": 2**14}
"""Where the search stops: beyond any training run."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Relaxed:
    """The largest value after one knob is changed."""

    knob: str
    value: object
    layout: dict[str, Any]
    largest: int
    step_time_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class LargestResult:
    """The answer of ``plan max``.

    Args:
        of: which quantity; granule: its step (what sharding and kernels accept).
        largest: the largest multiple of the granule that fits.
        limited_by: ``memory``, or the rule that forbids more.
        prediction: at the largest value.
        relaxed: the same question after one knob is changed, most gained first.
    """

    of: Quantity
    granule: int
    largest: int
    limited_by: str
    prediction: Prediction
    relaxed: tuple[Relaxed, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "of": self.of,
            "largest": self.largest,
            "granule": self.granule,
            "limited_by": self.limited_by,
            "prediction": self.prediction.to_json(),
            "relaxed": [vars(item) for item in self.relaxed],
        }


def largest(job: Job, of: Quantity, layout: Layout, *, progress: Progress | None = None) -> LargestResult:
    """The largest value of one quantity with which a layout fits.

    The global batch follows a larger micro-batch; the model's last layers repeat when it gets deeper. Memory grows
    with each of them, so bisection over the granules is exact.

    Args:
        of: what grows; everything else of the job stays.
        layout: the layout that is kept.

    Raises:
        NoAnswerError: not even the smallest value fits.
        PlannerError: the layout is illegal for this job whatever the value.
    """
    if of not in QUANTITIES:
        raise PlannerError(f"found '{of}'; accepted: {', '.join(QUANTITIES)}", field="--of")
    report = progress or (lambda done, message: None)
    options = list(relaxations(job, layout))
    report(0.0, f"largest {of}")
    base = _bisect(job, of, layout)
    if base.value == 0:
        raise NoAnswerError(_nothing(job, of, layout, base.granule))
    found = []
    for index, (knob, value, changed) in enumerate(options):
        report((index + 1) / (len(options) + 1), f"largest {of} with {knob}={value}")
        try:
            other = _bisect(job, of, changed)
        except PlannerError:
            continue
        if other.value:
            plan = predict(*_grown(job, of, changed, other.value))
            speed = (plan.step_time_s, plan.tokens_per_s)
            found.append(Relaxed(knob, value, dict(plan.layout), other.value, *speed))
    found.sort(key=lambda item: (-item.largest, item.step_time_s / item.largest))
    prediction = predict(*_grown(job, of, layout, base.value))
    return LargestResult(of, base.granule, base.value, base.limit, prediction, tuple(found))


@dataclass(frozen=True)
class _Found:
    value: int
    granule: int
    limit: str


def _bisect(job: Job, of: Quantity, layout: Layout) -> _Found:
    """The largest multiple of the granule that fits; 0 when not even one granule does."""
    granule, ceiling, rule = _granule(job, of, layout)
    top = ceiling // granule
    if top < 1:
        raise PlannerError(
            f"{of} can be at most {ceiling} ({rule}), but the layout needs multiples of {granule}"
        )
    low, high = 0, 1
    while high <= top and _fits(job, of, layout, high * granule):
        low, high = high, 2 * high
    high = min(high, top + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(job, of, layout, middle * granule):
            low = middle
        else:
            high = middle
    return _Found(low * granule, granule, rule if low == top else "memory")


def _fits(job: Job, of: Quantity, layout: Layout, value: int) -> bool:
    changed, grown = _grown(job, of, layout, value)
    return bool(memory_totals(changed, from_layouts([grown])).fits[0])


def _granule(job: Job, of: Quantity, layout: Layout) -> tuple[int, int, str]:
    """(step, largest value, why not more)."""
    ceiling = LARGEST[of]
    if of == "seq_len":
        step = math.lcm(layout.tp * layout.cp * 2, 128)
        positions = learned_positions(job.model)
        if positions is not None:
            return min(step, positions), positions, "the model's learned positions"
        return step, ceiling, "the range of this command"
    if of == "layers":
        if layout.layers_per_stage is not None:
            raise PlannerError("a layout with a list of layers per stage fixes the depth; leave the list out")
        return layout.pp * layout.vpp, ceiling, "the range of this command"
    return 1, ceiling, "the range of this command"


def _grown(job: Job, of: Quantity, layout: Layout, value: int) -> tuple[Job, Layout]:
    """Job and layout with that value.

    Raises:
        PlannerError: the layout is illegal with it.
    """
    changed = job
    if of == "seq_len":
        changed = replace(job, training=replace(job.training, seq_len=value))
    elif of == "layers":
        changed = replace(job, model=replace(job.model, order=deepened(job, value)))
    else:
        batch = value * layout.dp * layout.micro_batches
        changed = replace(job, training=replace(job.training, global_batch=batch))
        layout = replace(layout, micro_batch=value)
    violations = check(changed, layout)
    if violations:
        raise PlannerError(f"{of} {value}: {violations[0].message}", field=f"layout.{violations[0].knob}")
    return changed, layout


def deepened(job: Job, layers: int) -> tuple[str, ...]:
    """The model's order of blocks with that many layers: shortened at the end, or its last pattern repeated.

    Raises:
        PlannerError: the model has more than one stack (encoder and decoder), so its depth is not one number.
    """
    model = job.model
    places = [index for index, name in enumerate(model.order) if model.blocks[name].kind == "layer"]
    if not places or places[-1] - places[0] + 1 != len(places):
        raise PlannerError(f"{model.name} has more than one stack of layers; its depth is not one number")
    stack = list(model.layer_order)
    period = _period(stack)
    while len(stack) < layers:
        stack.append(stack[-period])
    return (*model.order[: places[0]], *stack[:layers], *model.order[places[-1] + 1 :])


def _period(stack: Sequence[str]) -> int:
    """Length of the pattern with which the stack ends (1 for equal layers)."""
    for length in range(1, len(stack) // 2 + 1):
        if list(stack[-length:]) == list(stack[-2 * length : -length]):
            return length
    return 1


def _nothing(job: Job, of: Quantity, layout: Layout, granule: int) -> str:
    memory = predict(*_grown(job, of, layout, granule)).memory
    missing = (memory.device_used_bytes + memory.reserve_bytes - memory.capacity_bytes) / 2**30
    lacking = (
        f"{missing:,.1f} GiB are missing" if missing > 0 else "the tiers below device memory are too small"
    )
    return f"not even {of} {granule} fits: {lacking}; shard, recompute or offload more"
