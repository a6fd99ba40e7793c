"""A real run against the same training on one process, and against what is predicted of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from planner.costs.predict import predict
from planner.jobs.prediction import Prediction
from planner.validation.real_runs.cases import Case
from planner.validation.real_runs.launch import Finished
from planner.validation.structure.compare import Term, communication_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ALLOWED_DOUBLE, ALLOWED_SINGLE = 1e-6, 1e-4
"""Largest relative error of losses and gradients in 64 and in 32 bits."""
FLOOR = 1e-6
"""Of the norm of all gradients together: the least that a parameter's error is measured against."""


@dataclass(frozen=True)
class Outcome:
    """One case.

    Args:
        loss_error, gradient_error: largest relative error against one process in 64 bits, over steps and parameters.
        single_loss_error: of the losses in the job's own precision.
        communication: (rank, term), calls predicted and made.
        failed_because: why it did not run, else None.
    """

    name: str
    processes: int
    loss_error: float = 0.0
    single_loss_error: float = 0.0
    gradient_error: float = 0.0
    communication: tuple[tuple[int, Term], ...] = ()
    failed_because: str | None = None

    @property
    def equal(self) -> bool:
        """Whether it trains as one process does."""
        single = self.single_loss_error <= ALLOWED_SINGLE
        double = max(self.loss_error, self.gradient_error) <= ALLOWED_DOUBLE
        return self.failed_because is None and double and single

    @property
    def bytes_exact(self) -> bool:
        """Whether every rank made the predicted calls and no others."""
        return self.failed_because is None and all(term.passed for _, term in self.communication)

    @property
    def passed(self) -> bool:
        return self.equal and self.bytes_exact

    def to_json(self) -> dict[str, Any]:
        """Plain data; of the communication what differs."""
        differs = [{"rank": rank, **term.to_json()} for rank, term in self.communication if not term.passed]
        figures = {"equal": self.equal, "bytes_exact": self.bytes_exact, "passed": self.passed}
        terms = {"communication": len(self.communication), "communication_differs": differs}
        errors = {
            name: error if isfinite(error := getattr(self, name)) else None
            for name in ("loss_error", "single_loss_error", "gradient_error")
        }
        return asdict(self) | errors | terms | figures


def compare(
    case: Case, alone: Finished, double: Finished, alone_balanced: Finished, plain: Finished
) -> Outcome:
    """The outcome of a case.

    Args:
        alone: one process in 64 bits. double: the layout in 64 bits.
        alone_balanced: as ``alone``, routed as ``plain`` is. plain: the layout in the job's precision.
    """
    prediction = predict(case.job, case.layout)
    return Outcome(
        name=case.name,
        processes=case.processes,
        loss_error=_largest(alone.result.losses, double.result.losses),
        single_loss_error=_largest(alone_balanced.result.losses, plain.result.losses),
        gradient_error=gradient_error(alone.gradients, double.gradients),
        communication=communication(prediction, plain),
    )


def communication(prediction: Prediction, run: Finished) -> tuple[tuple[int, Term], ...]:
    """(rank, calls per step predicted and made) of every kind of call of every rank."""
    return tuple(
        (rank.rank, term)
        for rank in run.result.ranks
        for term in communication_terms(prediction.ranks[rank.pipeline_rank].communication, rank.calls)
    )


def gradient_error(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """Largest error of a parameter's gradient, by norms; infinite when one is missing or has gaps.

    A gradient that is zero but for rounding (of a bias of keys: a softmax does not see it) has no relative error: none is
    measured against less than ``FLOOR`` of the norm of all gradients together.
    """
    import torch

    from planner.validation.trainer.initial import TIED

    copies = TIED.keys() - expected.keys()  # of a tied table, on the last stage of a pipeline
    if expected.keys() != found.keys() - copies:
        return float("inf")
    norms = {name: torch.linalg.vector_norm(gradient) for name, gradient in expected.items()}
    floor = FLOOR * torch.linalg.vector_norm(torch.stack(list(norms.values()))) if norms else 0.0
    errors = [
        float(torch.linalg.vector_norm(found[name].double() - gradient) / max(norms[name], floor))
        for name, gradient in expected.items()
    ]
    return max((error if isfinite(error) else float("inf") for error in errors), default=0.0)


def _largest(expected: tuple[float, ...], found: tuple[float, ...]) -> float:
    return max(abs(b / a - 1.0) for a, b in zip(expected, found, strict=True))
