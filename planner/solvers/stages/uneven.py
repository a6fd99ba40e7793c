"""Uneven stages for a layout: cut and recompute per rank by the dynamic or the integer programme, priced by the cost model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.costs.evaluate import evaluate
from planner.errors import NoAnswerError
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import check
from planner.solvers.linear import BackEnd, Solution, write_lp
from planner.solvers.stages.coupled import CoupledProblem
from planner.solvers.stages.milp import stage_programme
from planner.solvers.stages.plan import best_stages
from planner.solvers.stages.pricing import PricedLayout, priced_layout, stage_tables
from planner.solvers.stages.solve import best_coupled_stages

ROUNDS = 4
"""Most times that the cost model is made linear anew around the last cut."""

UNCUT = ("dualpipe", "csv", "seq1f1b", "wave", "v_half", "v_min")
"""Schedules whose ranks hold stages of two directions, or that only a simulation can price."""


@dataclass(frozen=True)
class StageOptions:
    """How the integer programme is solved."""

    back_end: BackEnd = "highs"
    time_limit_s: float = 10.0
    gap: float = 0.005
    seed: int = 0


DEFAULT_OPTIONS = StageOptions()


@dataclass(frozen=True)
class UnevenStages:
    """A layout and the best that was found with uneven stages.

    Args:
        before, after: with their seconds per step by the cost model; equal when nothing better was found.
        method: ``dynamic programme`` (exact for the linear problem) or ``integer programme``.
        solution: of the integer programme's last round, None for the dynamic one.
        rounds: how often the cost model was made linear.
        reason: why no uneven stages were found, else None.
        seconds: spent.
    """

    before: Layout
    after: Layout
    before_s: float
    after_s: float
    method: str
    solution: Solution | None
    rounds: int
    reason: str | None
    seconds: float

    @property
    def gain(self) -> float:
        """Fraction of the step that uneven stages save."""
        return 1.0 - self.after_s / self.before_s


def uneven_stages(job: Job, layout: Layout, options: StageOptions = DEFAULT_OPTIONS) -> UnevenStages:
    """The layout with layers and recompute dealt out unevenly over its pipeline ranks; never slower than it is.

    For each recompute policy of the framework the cost model is made linear around a cut, the stage problem solved, and each
    rank given the fewest recomputed layers with which it fits by the cost model itself; then again around the new cut.
    """
    begin = time.monotonic()
    chunked = layout.vpp > 1
    method = "integer programme" if chunked else "dynamic programme"
    candidates, solution, rounds, reason = [layout], None, 0, None
    limited = replace(options, time_limit_s=options.time_limit_s / 2)
    for policy in _policies(job, layout):
        priced = priced_layout(job, replace(layout, recompute=policy, recompute_layers=None))
        try:
            found = _rounds(priced, limited, 1 if chunked else ROUNDS)
        except NoAnswerError as error:
            reason = error.message
            continue
        candidates += found.layouts
        rounds += found.rounds
        solution = found.solution or solution
    legal = [
        candidate
        for candidate in dict.fromkeys(candidates)
        if candidate == layout or not check(job, candidate)
    ]
    found_costs = evaluate(job, from_layouts(legal))
    seconds = np.where(found_costs.memory.fits, found_costs.step_time_s, np.inf)
    seconds[0] = found_costs.step_time_s[0]
    best = int(seconds.argmin())
    return UnevenStages(
        layout,
        legal[best],
        float(seconds[0]),
        float(seconds[best]),
        method,
        solution,
        rounds,
        reason if best == 0 else None,
        time.monotonic() - begin,
    )


def write_stage_programme(job: Job, layout: Layout, path: str) -> None:
    """Write the integer programme of a layout's stages as an LP file.

    Raises:
        PlannerError: the file cannot be written.
    """
    priced = priced_layout(job, replace(layout, recompute=_policies(job, layout)[0], recompute_layers=None))
    cuts = _even(priced)
    write_lp(stage_programme(stage_tables(priced, cuts, _all(priced))).programme, path)


@dataclass(frozen=True, eq=False)
class _Found:
    layouts: list[Layout]
    solution: Solution | None
    rounds: int


def _rounds(priced: PricedLayout, options: StageOptions, most: int) -> _Found:
    cuts, recomputed = _start(priced)
    layouts, solution, seen = [], None, {tuple(cuts)}
    rounds = 0
    while rounds < most:
        counts = fewest_recomputed(priced, cuts)
        if counts is not None:
            recomputed = counts
            layouts.append(_layout(priced, cuts, counts))
        rounds += 1
        problem = stage_tables(priced, cuts, recomputed)
        answer, solution = _solved(problem, options, solution)
        if answer is None or tuple(answer[0]) in seen:
            break
        cuts, recomputed = answer
        seen.add(tuple(cuts))
    counts = fewest_recomputed(priced, cuts)
    if counts is not None:
        layouts.append(_layout(priced, cuts, counts))
    return _Found(layouts, solution, rounds)


def _solved(
    problem: CoupledProblem, options: StageOptions, known: Solution | None
) -> tuple[tuple[list[int], list[int]] | None, Solution | None]:
    """((cuts, recomputed layers of each rank), solution of the integer programme if one was solved)."""
    if problem.chunks == 1:
        plan = best_stages(problem.stages)
        if plan is None:
            return None, known
        cuts, modes = plan.cuts, plan.modes
    else:
        found = best_coupled_stages(
            problem,
            options.back_end,
            time_limit_s=options.time_limit_s,
            gap=options.gap,
            seed=options.seed,
        )
        cuts, modes, known = found.cost.plan.cuts, found.cost.plan.modes, found.solution
    of_rank = np.repeat(problem.rank, np.diff(cuts))
    return (cuts.tolist(), np.bincount(of_rank, modes, problem.ranks).astype(int).tolist()), known


def fewest_recomputed(priced: PricedLayout, cuts: Sequence[int]) -> list[int] | None:
    """The fewest recomputed layers of each rank with which it fits by the cost model; None when a rank cannot."""
    capacity = priced.job.cluster.accelerator.memory_bytes * (1.0 - priced.job.search.memory_reserve)
    shares = np.bincount(priced.rank_of, np.diff(cuts)).astype(int)
    left, counts = set(range(priced.layout.pp)), [0] * priced.layout.pp
    for count in range(int(shares.max()) + 1):
        ranks = priced.ranks(cuts, [count] * priced.layout.pp)
        tried = sorted(rank for rank in left if count <= shares[rank])
        if not tried:
            break
        used = priced.used_bytes([ranks[rank] for rank in tried])
        for rank, size in zip(tried, used.tolist(), strict=True):
            if size <= capacity:
                counts[rank] = count
                left.discard(rank)
    return None if left else counts


def _policies(job: Job, layout: Layout) -> tuple[Recompute, ...]:
    """Recompute policies that the framework has, the layout's own first."""
    known = [Recompute("full")]
    if job.selective_modules:
        known.insert(0, Recompute("selective", job.selective_modules))
    own = [layout.recompute] if layout.recompute.mode != "none" else []
    return tuple(dict.fromkeys([*own, *known]))


def _start(priced: PricedLayout) -> tuple[list[int], list[int]]:
    cuts = _even(priced)
    return cuts, fewest_recomputed(priced, cuts) or _all(priced)


def _even(priced: PricedLayout) -> list[int]:
    """The layout's own cut, or an even one."""
    shares = priced.layout.layers_per_stage
    if shares is None:
        shares = (len(priced.types) // priced.virtual_stages,) * priced.virtual_stages
    return [0, *np.cumsum(shares).tolist()]


def _all(priced: PricedLayout) -> list[int]:
    return [len(priced.types)] * priced.layout.pp


def _layout(priced: PricedLayout, cuts: Sequence[int], counts: Sequence[int]) -> Layout:
    """The layout with this cut and so many recomputed layers per rank, in its simplest words."""
    shares = tuple(np.diff(cuts).tolist())
    of_rank = np.bincount(priced.rank_of, shares).astype(int).tolist()
    layout = replace(priced.layout, layers_per_stage=shares if len(set(shares)) > 1 else None)
    if not any(counts):
        return replace(layout, recompute=Recompute(), recompute_layers=None)
    if list(counts) == of_rank:
        return replace(layout, recompute_layers=None)
    return replace(layout, recompute_layers=counts[0] if len(set(counts)) == 1 else tuple(counts))
