"""What one real run of a sharding is asked to do, and what its ranks found."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from planner.documents.writing import write_text
from planner.solvers.sharding.plan import ShardingPlan

TASK = "task.pickle"


@dataclass(frozen=True, order=True)
class SentCall:
    """One kind of collective call of one rank; ``nbytes`` as nccl-tests counts: the larger of what it gives and gets."""

    collective: str
    mesh_dim: int
    in_pass: str
    nbytes: int


@dataclass(frozen=True)
class ShardingRun:
    """A model and a plan for it.

    Args:
        source: as for ``load_graph``: a Python function, an exported program, or an ONNX file.
        inputs: texts of its inputs, for a Python function that gives none.
        plan: for the graph of that source.
        block: floating inputs get gradients.
    """

    source: str
    plan: ShardingPlan
    inputs: tuple[str, ...] = ()
    block: bool = False

    def write(self, folder: Path) -> None:
        """For the processes of the run, which are this program's own."""
        (folder / TASK).write_bytes(pickle.dumps(self))

    @staticmethod
    def read(folder: Path) -> ShardingRun:
        """What ``write`` wrote."""
        found: ShardingRun = pickle.loads((folder / TASK).read_bytes())
        return found


@dataclass(frozen=True)
class RankOutcome:
    """What one rank saw.

    Args:
        output_error: largest difference of any output from one process's, relative to that output's largest element,
            both in 64 bits.
        gradient_error: the same of any parameter's gradient; ``worst``: which parameter.
        gradients: how many parameters were compared.
        calls: collectives of one forward and backward pass in the model's own precision.
    """

    output_error: float
    gradient_error: float
    worst: str
    gradients: int
    calls: Mapping[SentCall, int]

    def write(self, folder: Path, rank: int) -> None:
        calls = [[*asdict(call).values(), count] for call, count in sorted(self.calls.items())]
        plain = {field.name: getattr(self, field.name) for field in fields(self)} | {"calls": calls}
        write_text(_file(folder, rank), json.dumps(plain))

    @staticmethod
    def read(folder: Path, rank: int) -> RankOutcome:
        plain: dict[str, Any] = json.loads(_file(folder, rank).read_text(encoding="utf-8"))
        calls = {SentCall(*entry[:-1]): entry[-1] for entry in plain["calls"]}
        return RankOutcome(**{**plain, "calls": calls})


def _file(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.json"


def priced_calls(plan: ShardingPlan) -> Counter[SentCall]:
    """Every collective of the plan, as each rank should make it."""
    return Counter(SentCall(sent.collective, sent.mesh_dim, sent.in_pass, sent.bytes) for sent in plan.sent())
