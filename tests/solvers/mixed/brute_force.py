"""Every pipeline over groups, listed one by one: orders, numbers of stages, layouts, cuts of the layers, policies.

Shares nothing with the solver but the cost of one stage on its own group.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.costs.evaluate import fits
from planner.costs.memory import stage_memory
from planner.costs.prices import PriceRows, price_model
from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import step_time
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.legality import check
from planner.layouts.presets import zero_shard
from planner.solvers.mixed.job import MixedJob


@dataclass(frozen=True)
class Stage:
    """Seconds of one micro-batch, and of all that the rank does in a step; None: does not fit."""

    once: float
    whole: float


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Positive parts that add up to the total."""
    for ends in itertools.combinations(range(1, total), parts - 1):
        yield tuple(b - a for a, b in itertools.pairwise((0, *ends, total)))


def group_layouts(job: Job, largest: int) -> list[Layout]:
    """Legal layouts of a group with ZeRO stage 0 or 1 and no recompute, cut evenly or by one layer more or less."""
    found = []
    for pp, tp in itertools.product(range(1, job.devices + 1), repeat=2):
        if job.devices % (pp * tp) or pp > job.model.layers:
            continue
        dp = job.devices // (pp * tp)
        for sp, stage, size in itertools.product((False, True), (0, 1), range(1, largest + 1)):
            if (sp and tp == 1) or (stage and dp == 1) or job.training.global_batch % (dp * size):
                continue
            for layers in compositions(job.model.layers, pp):
                layout = Layout(
                    tp=tp,
                    sp=sp,
                    pp=pp,
                    dp=dp,
                    shard=zero_shard(stage, dp),
                    micro_batch=size,
                    micro_batches=job.training.global_batch // (dp * size),
                    layers_per_stage=layers if len(set(layers)) > 1 else None,
                )
                if not check(job, layout):
                    found.append(layout)
                    break
    return found


@dataclass(frozen=True)
class Priced:
    """A layout under a recompute policy with its block prices."""

    job: Job
    row: Layouts
    prices: PriceRows

    @staticmethod
    def of(job: Job, layout: Layout, policy: Recompute) -> Priced:
        row = from_layouts([replace(layout, recompute=policy, layers_per_stage=None)])
        return Priced(job, row, price_model(job, row).rows(row))

    def stage(self, first: int, last: int, later: int) -> Stage | None:
        """A stage of layers first .. last - 1 with so many stages after it.

        The model must be an embedding, equal layers and a head.
        """
        order, layers = list(self.job.model.order), self.job.model.layers
        names = order[1 + first : 1 + last]
        others = [order[0]] if first == 0 else []
        others += order[1 + layers :] if last == layers else []
        owned = StageClass((0,), Counter(names), Counter(others), (0,), first == 0, last == layers)
        alone = StageGroup(np.zeros(1, int), 1, 1, (owned,), 0)
        time = step_time(self.job, self.row, self.prices, alone).stages[0]
        flight = min(later + 1, int(self.row.columns["micro_batches"][0]))
        # rank 1 of flight + 1 ranks holds as many micro-batches, and sends messages, as the last stage does too
        columns = {**self.row.columns, "pp": np.array([flight + 1])}
        memory = stage_memory(self.job, replace(self.row, columns=columns), self.prices, owned, np.array([1]))
        if not bool(fits(self.job, memory.used, memory.host, memory.nvme)[0]):
            return None
        return Stage(float((time.paced[0] + time.paced[1])[0]), float((time.busy - time.tied)[0]))


def fastest_pipeline(mixed: MixedJob, policies: tuple[Recompute, ...], largest: int) -> float:
    """Seconds of the fastest pipeline over all groups, hops and tied tables left out.

    Args:
        largest: micro-batch.
    """
    layouts = [group_layouts(job, largest) for job in mixed.jobs]
    best = np.inf

    @functools.cache
    def priced(place: int, layout: Layout, policy: Recompute) -> Priced:
        return Priced.of(mixed.jobs[place], layout, policy)

    @functools.cache
    def stage(place: int, layout: Layout, first: int, last: int, later: int) -> Stage | None:
        """Under the policy with the shortest work of a step that fits."""
        found = [priced(place, layout, policy).stage(first, last, later) for policy in policies]
        return min((item for item in found if item is not None), key=lambda item: item.whole, default=None)

    for order in itertools.permutations(range(len(mixed.jobs))):
        for chosen in itertools.product(*(layouts[place] for place in order)):
            if len({layout.micro_batches for layout in chosen}) == 1:
                owners = [
                    (place, layout)
                    for place, layout in zip(order, chosen, strict=True)
                    for _ in range(layout.pp)
                ]
                best = min([best, *_steps(mixed.jobs[0].model.layers, owners, stage)])
    return best


def _steps(
    layers: int, owners: list[tuple[int, Layout]], stage: Callable[..., Stage | None]
) -> Iterator[float]:
    """The step of every cut in which every stage fits."""
    for cut in compositions(layers, len(owners)) if len(owners) <= layers else ():
        ends = np.cumsum((0, *cut)).tolist()
        found = [
            stage(*owner, ends[index], ends[index + 1], len(owners) - index - 1)
            for index, owner in enumerate(owners)
        ]
        stages = [item for item in found if item is not None]
        if len(stages) == len(found):
            through = sum(item.once for item in stages)
            yield max(through - item.once + item.whole for item in stages)
