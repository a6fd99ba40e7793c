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
from planner.solvers.linear import BackEnd, Solution, no_answer, write_lp
from planner.solvers.stages.coupled import CoupledProblem
from planner.solvers.stages.milp import stage_programme
from planner.solvers.stages.plan import StagePlan, best_stages
from planner.solvers.stages.pricing import PricedLayout, priced_layout, stage_tables
from planner.solvers.stages.solve import DIVISION, best_coupled_stages

ROUNDS = 4
"""Most times that the cost model is made linear anew around the last cut."""

UNCUT = ("dualpipe", "csv", "seq1f1b", "wave", "v_half", "v_min")
"""Schedules whose ranks hold stages of two directions, or that only a simulation can price."""


@dataclass(frozen=True)
class StageOptions:
    """How the integer programme is solved."""

    back_end: BackEnd = "highs"
    time_limit_s: float = 6.0
    gap: float = 0.005
    seed: int = 0


DEFAULT_OPTIONS = StageOptions()


@dataclass(frozen=True)
class UnevenStages:
    """A layout and faster ones with uneven stages, by the cost model.

    Args:
        before: the layout; before_s: its seconds per step; before_fits: whether it fits.
        found: faster layouts that fit (where it does not fit, all that do) and their seconds per step, fastest first.
        method: ``dynamic programme`` (exact for the linear problem) or ``integer programme``.
        solution: of the last integer programme, None for the dynamic one.
        rounds: how often the cost model was made linear.
        reason: why nothing could be cut, else None.
        seconds: spent.
    """

    before: Layout
    before_s: float
    before_fits: bool
    found: tuple[tuple[Layout, float], ...]
    method: str
    solution: Solution | None
    rounds: int
    reason: str | None
    seconds: float


def uneven_stages(job: Job, layout: Layout, options: StageOptions = DEFAULT_OPTIONS) -> UnevenStages:
    """Faster layouts than the one given, with layers and recompute dealt out unevenly over its pipeline ranks.

    For each recompute policy of the framework the cost model is made linear around a cut, the stage problem solved, and each
    rank given the fewest recomputed layers with which it fits by the cost model itself; then again around the new cut.
    """
    begin = time.monotonic()
    chunked = layout.vpp > 1
    layouts, solution, rounds, reason = [layout], None, 0, None
    policies = _policies(job, layout)
    limited = replace(options, time_limit_s=options.time_limit_s / len(policies))
    for policy in policies:
        priced = priced_layout(job, replace(layout, recompute=policy, recompute_layers=None))
        try:
            found = _rounds(priced, limited, 1 if chunked else ROUNDS)
        except NoAnswerError as error:
            reason = error.message
            continue
        layouts += found.layouts
        rounds += found.rounds
        solution = found.solution or solution
        if found.layouts and all(one.recompute.mode == "none" for one in found.layouts):
            break  # other policies would not be used either
    return UnevenStages(
        layout,
        *_faster(job, layouts),
        "integer programme" if chunked else "dynamic programme",
        solution,
        rounds,
        None if rounds else reason,
        time.monotonic() - begin,
    )


def _faster(job: Job, layouts: Sequence[Layout]) -> tuple[float, bool, tuple[tuple[Layout, float], ...]]:
    """(seconds per step of the first layout, whether it fits, the others that fit and are faster)."""
    legal = [one for one in dict.fromkeys(layouts) if one == layouts[0] or not check(job, one)]
    costs = evaluate(job, from_layouts(legal))
    first_fits, *fits = costs.memory.fits.tolist()
    first, *steps = costs.step_time_s.tolist()
    faster = [
        (one, seconds)
        for one, seconds, enough in zip(legal[1:], steps, fits, strict=True)
        if enough and (seconds < first or not first_fits)
    ]
    return first, first_fits, tuple(sorted(faster, key=lambda pair: pair[1]))


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


Cut = tuple[list[int], list[int]]
"""Bounds of the virtual stages, and recomputed layers of each rank."""


def _rounds(priced: PricedLayout, options: StageOptions, most: int) -> _Found:
    """Solve, make the model linear around the answer, solve again, until an answer comes back or often enough.

    Raises:
        NoAnswerError: no cut fits.
    """
    cuts = _even(priced)
    recomputed = fewest_recomputed(priced, cuts)
    tried, solution, rounds = {tuple(cuts): recomputed}, None, 0
    recomputed = recomputed or _all(priced)
    while rounds < most:
        rounds += 1
        try:
            answers, solution = _solved(stage_tables(priced, cuts, recomputed), options)
        except NoAnswerError:
            if all(counts is None for counts in tried.values()):
                raise
            break
        fresh = [answer for answer in answers if tuple(answer[0]) not in tried]
        tried |= {tuple(cut): fewest_recomputed(priced, cut) for cut, _ in fresh}
        if not fresh:
            break
        cuts, recomputed = fresh[0]
    layouts = [_layout(priced, cut, counts) for cut, counts in tried.items() if counts is not None]
    return _Found(layouts, solution, rounds)


def _solved(problem: CoupledProblem, options: StageOptions) -> tuple[list[Cut], Solution | None]:
    """(the best cut, then that of the dynamic programme where it only began the search; the programme's solution)."""
    if problem.chunks == 1:
        plan = best_stages(problem.stages)
        if plan is None:
            raise no_answer(stage_programme(problem).programme, what=DIVISION)
        return [_cut(problem, plan)], None
    found = best_coupled_stages(
        problem, options.back_end, time_limit_s=options.time_limit_s, gap=options.gap, seed=options.seed
    )
    plans = [cost.plan for cost in (found.cost, found.seed) if cost is not None]
    return [_cut(problem, plan) for plan in plans], found.solution


def _cut(problem: CoupledProblem, plan: StagePlan) -> Cut:
    of_layer = np.repeat(problem.rank, np.diff(plan.cuts))
    recomputed = np.bincount(of_layer, plan.modes, problem.ranks).astype(int)
    return plan.cuts.tolist(), recomputed.tolist()


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
