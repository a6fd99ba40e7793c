"""Which of the best plans the model cannot tell apart, and which of them are worth a trial. Docs: docs/search.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.costs.uncertainty import Support, ratio_spread, support_of, time_shares
from planner.hardware.spreads import Spreads
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job

LEAST_CHANCE = 0.1
"""A plan that is faster than the first one with at least this chance is within noise of it."""

TRIALS = 3
"""Most plans to try."""


@dataclass(frozen=True)
class Standing:
    """One plan of a ranking against the first one.

    Args:
        place: from 0. behind: its time over the first one's, minus one.
        ratio_spread: standard deviation of the log of that ratio.
        chance: that it is faster than the first one.
    """

    place: int
    behind: float
    ratio_spread: float
    chance: float

    @property
    def within(self) -> bool:
        return self.chance >= LEAST_CHANCE


@dataclass(frozen=True)
class Noise:
    """What the model cannot resolve among the plans of a ranking.

    Args:
        standings: one per plan, the first one's chance is a half.
        trials: places of the plans to try, the first one among them.
    """

    standings: tuple[Standing, ...]
    trials: tuple[int, ...]

    @property
    def within(self) -> int:
        """Plans within noise of the first one, which counts."""
        return sum(standing.within for standing in self.standings)

    def to_json(self) -> dict[str, Any]:
        """Plain data; ranks count from 1."""
        return {
            "within": [standing.place + 1 for standing in self.standings if standing.within],
            "try": [place + 1 for place in self.trials],
            "plans": [
                {
                    "rank": standing.place + 1,
                    "behind": standing.behind,
                    "ratio_spread": standing.ratio_spread,
                    "chance_faster": standing.chance,
                }
                for standing in self.standings
            ],
        }


@dataclass(frozen=True)
class _Plan:
    seconds: float
    shares: Mapping[str, float]


def noise_of(job: Job, plans: Sequence[Prediction]) -> Noise:
    """How the plans stand against the first one, by simulated times where all have them.

    Args:
        job: that the plans were searched for.
    """
    support, spreads = support_of(job), job.cluster.spreads
    simulated = all(plan.simulated_step_time_s is not None for plan in plans)
    known = [
        _Plan((plan.simulated_step_time_s if simulated else None) or plan.step_time_s, time_shares(plan.time))
        for plan in plans
    ]
    standings = []
    for place, plan in enumerate(known):
        spread = ratio_spread(support, spreads, known[0].shares, plan.shares)
        behind = plan.seconds / known[0].seconds - 1.0
        standings.append(Standing(place, behind, spread, _chance(known[0], plan, spread)))
    within = [standing.place for standing in standings[1:] if standing.within]
    return Noise(tuple(standings), _trials(known, within, support, spreads))


def _chance(first: _Plan, other: _Plan, spread: float) -> float:
    """That another plan is faster, by a normal log ratio."""
    return 0.5 * math.erfc(math.log(other.seconds / first.seconds) / spread / math.sqrt(2.0))


def _trials(
    plans: Sequence[_Plan], within: Sequence[int], support: Support, spreads: Spreads
) -> tuple[int, ...]:
    """The first plan, then again and again the one with the best chance to beat all that are chosen: plans that differ from
    them in where their time goes, since near copies win or lose together."""
    chosen = [0]
    left = list(within)
    while left and len(chosen) < TRIALS:
        chances = {
            place: min(
                _gain(
                    plans[taken],
                    plans[place],
                    ratio_spread(support, spreads, plans[taken].shares, plans[place].shares),
                )
                for taken in chosen
            )
            for place in left
        }
        best = max(left, key=lambda place: chances[place])
        chosen.append(best)
        left.remove(best)
    return tuple(sorted(chosen))


def _gain(first: _Plan, other: _Plan, spread: float) -> float:
    """Expected log saving of trying another plan beside one: E max(0, x), x normal (expected improvement, Mockus 1975)."""
    z = -math.log(other.seconds / first.seconds) / spread
    density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    return spread * (z * 0.5 * math.erfc(-z / math.sqrt(2.0)) + density)
