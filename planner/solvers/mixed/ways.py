"""Ways to run consecutive pipeline stages on one group: the layouts of its own search space, cut anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.layouts.layouts import COLUMNS, IntArray, Layouts, distinct_rows
from planner.layouts.space.space import Space, search_space

SCHEDULE = "1f1b"
PINNED: Mapping[str, Any] = {"schedule": SCHEDULE, "vpp": 1}
"""Of pipelines over several groups: every rank holds one stage and alternates forwards and backwards."""

CONTEXT_KNOBS = frozenset({"cp", "ulysses", "ring", "cp_kind"})
_PER_STAGE = ("recompute", "recompute_layers", "partition")


@dataclass(frozen=True)
class Ways:
    """Layouts of one group; ``pp`` counts its own stages, recompute and layers are chosen per stage.

    Args:
        job: on the group.
        layouts: (rows,), without recompute.
        legal: (rows, policies), recompute policies (``layouts.recompute``) that a row may use.
    """

    job: Job
    layouts: Layouts
    legal: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.layouts)

    @property
    def stages(self) -> IntArray:
        return self.layouts.columns["pp"]

    @property
    def micro_batches(self) -> IntArray:
        return self.layouts.columns["micro_batches"]

    @cached_property
    def prices(self) -> Prices:
        """Of all blocks for all rows under all policies."""
        return price_model(self.job, self.layouts)

    def under(self, rows: IntArray, policy: int) -> Layouts:
        """The rows with a recompute policy."""
        chosen = self.layouts.take(rows)
        code = np.full(len(rows), policy, dtype=np.int64)
        return replace(chosen, columns={**chosen.columns, "recompute": code})

    @cached_property
    def layer_seconds(self) -> Mapping[str, FloatArray]:
        """Block -> (rows,) seconds of its forward and backward for one micro-batch under the cheapest legal policy."""
        every = np.arange(len(self), dtype=np.int64)
        rows = [self.prices.rows(self.under(every, code)) for code in range(len(self.layouts.recompute))]
        result = {}
        for name, block in self.job.model.blocks.items():
            recomputed = block.kind == "layer"
            costs = [
                np.where(
                    self.legal[:, code],
                    row.get(name, "forward_s", recomputed=recomputed)
                    + row.get(name, "backward_s", recomputed=recomputed),
                    np.inf,
                )
                for code, row in enumerate(rows)
            ]
            result[name] = np.min(np.stack(costs), axis=0)
        return result


def ways_of(job: Job) -> Ways | None:
    """All ways of one group; None when no layout is legal there.

    Search options hold for each group's own layout: ``pp`` is its number of stages. Context parallelism and offload are
    tried only where the options name them.

    Raises:
        PlannerError: the options ask for another schedule or for several chunks per rank.
    """
    space = search_space(pipeline_job(job))
    if not space.size:
        return None
    layouts, policies = _whole(space)
    columns = [layouts.columns[name] for name in COLUMNS if name not in _PER_STAGE]
    first, inverse = distinct_rows(columns, len(layouts))
    legal = np.zeros((len(first), len(policies)), dtype=np.bool_)
    legal[inverse, layouts.columns["recompute"]] = True
    chosen = layouts.take(first)
    neutral = {name: np.zeros(len(first), dtype=np.int64) for name in ("recompute", "partition")}
    return Ways(job, replace(chosen, columns={**chosen.columns, **neutral}), legal)


def pipeline_job(job: Job) -> Job:
    """The job with the search options of a pipeline over groups."""
    options = job.search
    for knob, value in PINNED.items():
        asked = options.fix.get(knob, value)
        if asked != value:
            raise PlannerError(
                f"found {asked}; pipelines over groups run {knob} = {value}", field=f"search.fix.{knob}"
            )
    named = {*options.fix, *options.limit, *options.allow}
    fix = {**options.fix, **PINNED}
    if not named & CONTEXT_KNOBS:
        fix["cp"] = 1
    allow = {name: value for name, value in options.allow.items() if name not in (*PINNED, "idle_devices")}
    allow["uneven_stages"] = True
    if "offload" not in named:
        allow["offload"] = ["none"]
    return replace(job, search=replace(options, fix=fix, allow=allow))


def _whole(space: Space) -> tuple[Layouts, tuple[Any, ...]]:
    """Every layout whose recompute holds for all layers of a rank, in the space's order."""
    parts: list[Layouts] = []
    for _, layouts, _ in space.blocks():
        parts.append(layouts.take(layouts.columns["recompute_layers"] < 0))
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in COLUMNS}
    return replace(parts[0], columns=columns), parts[0].recompute
