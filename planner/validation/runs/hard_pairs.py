"""Pairs of runs that change one thing whose effect is large: is it predicted, in direction and in size?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import load_document, validate
from planner.validation.runs.outcome import Outcome

NOTHING = 0.05
"""Change of the measured time up to which a pair says that its change costs nothing."""

NEAR = 0.15
"""Largest relative error of a ratio that is called near."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HardPair(_Frozen):
    """Two rows and what changes between them."""

    before: Annotated[str, Field(min_length=1)]
    after: Annotated[str, Field(min_length=1)]
    changes: Annotated[str, Field(min_length=3)]
    tests: Annotated[str, Field(min_length=3)]


class _HardPairs(_Frozen):
    pairs: tuple[HardPair, ...]


@dataclass(frozen=True)
class PairScore:
    """Time after over time before, measured and predicted."""

    pair: HardPair
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Predicted over measured ratio, minus one."""
        return self.predicted / self.measured - 1.0

    @property
    def right(self) -> bool:
        """Whether the direction is; a change that costs nothing must be predicted to cost nothing."""
        if abs(self.measured - 1.0) <= NOTHING:
            return abs(self.predicted - 1.0) <= NOTHING
        return math.log(self.measured) * math.log(self.predicted) > 0.0

    @property
    def near(self) -> bool:
        return abs(self.error) <= NEAR


def load_hard_pairs() -> tuple[HardPair, ...]:
    """The packaged list."""
    with resources.as_file(resources.files("planner.validation.runs") / "hard_pairs.yaml") as path:
        return validate(load_document(path), _HardPairs).pairs


def pair_scores(outcomes: Sequence[Outcome], pairs: Iterable[HardPair]) -> Iterator[PairScore]:
    """Scores of the pairs whose two rows were predicted, in seconds or, when only that was printed, by utilisation."""
    by_id = {outcome.row.id: outcome for outcome in outcomes}
    for pair in pairs:
        before, after = by_id.get(pair.before), by_id.get(pair.after)
        if before is None or after is None:
            continue
        times = _times(before), _times(after)
        if times[0] is not None and times[1] is not None:
            (first, predicted_first), (second, predicted_second) = times[0], times[1]
            yield PairScore(pair, second / first, predicted_second / predicted_first)


def _times(outcome: Outcome) -> tuple[float, float] | None:
    """(measured, predicted) seconds; the inverse of utilisations of the same work where seconds are not known."""
    if outcome.measured_s is not None and outcome.predicted_s is not None:
        return outcome.measured_s, outcome.predicted_s
    measured, predicted = outcome.row.measured.mfu, outcome.predicted_mfu
    return (1.0 / measured, 1.0 / predicted) if measured and predicted else None
