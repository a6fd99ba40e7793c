"""Launch real runs of shardings and hold them against one process and against what was priced."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.validation.processes.launch import run_processes
from planner.validation.sharding.runs import RankOutcome, SentCall, ShardingRun, priced_calls

WORKER = "planner.validation.sharding"
TIMEOUT_S = 300.0
TOLERANCE = 1e-9
"""Relative, in 64 bits: sums in another order differ by some 1e-15 per element."""


@dataclass(frozen=True)
class ShardingOutcome:
    """One plan's run.

    Args:
        priced: collectives of the plan, as each rank should make them.
        ranks: what each rank saw.
    """

    run: ShardingRun
    priced: Counter[SentCall]
    ranks: tuple[RankOutcome, ...]

    @property
    def equal(self) -> bool:
        """Outputs and all gradients are one process's."""
        return all(max(rank.output_error, rank.gradient_error) <= TOLERANCE for rank in self.ranks)

    @property
    def as_priced(self) -> bool:
        """Every rank made exactly the priced calls, of the priced bytes."""
        return all(Counter(rank.calls) == self.priced for rank in self.ranks)

    @property
    def passed(self) -> bool:
        return self.equal and self.as_priced

    def differences(self) -> list[str]:
        """What is not as priced, in words; empty if all is."""
        found = []
        for number, rank in enumerate(self.ranks):
            for call in sorted({*self.priced, *rank.calls}):
                made, expected = rank.calls.get(call, 0), self.priced.get(call, 0)
                if made != expected:
                    found.append(
                        f"rank {number}: {call.collective} of {call.nbytes} bytes on mesh dimension {call.mesh_dim} in "
                        f"{call.in_pass}: {made} made, {expected} priced"
                    )
        return found


def run_shardings(
    runs: Sequence[ShardingRun],
    *,
    timeout_s: float = TIMEOUT_S,
    on_end: Callable[[ShardingRun], None] | None = None,
) -> list[ShardingOutcome]:
    """Run plans on processes of this machine, those of equal numbers of processes in one launch.

    Args:
        timeout_s: longest silence.
        on_end: called with each run that ended.

    Raises:
        PlannerError, NoAnswerError: see ``run_processes``.
    """
    outcomes: dict[int, ShardingOutcome] = {}
    with tempfile.TemporaryDirectory(prefix="plan-shard-") as name:
        folders = [Path(name, str(index)) for index in range(len(runs))]
        for run, folder in zip(runs, folders, strict=True):
            folder.mkdir()
            run.write(folder)
        sizes = [math.prod(run.plan.mesh) for run in runs]
        for count in sorted(set(sizes)):
            here = [index for index, size in enumerate(sizes) if size == count]

            def hear(line: str) -> None:
                if on_end is not None and line.isdigit():
                    on_end(runs[int(line)])

            arguments = [str(folders[index]) for index in here]
            run_processes(WORKER, arguments, count, timeout_s=timeout_s, on_line=hear)
            for index in here:
                ranks = tuple(RankOutcome.read(folders[index], rank) for rank in range(count))
                outcomes[index] = ShardingOutcome(runs[index], priced_calls(runs[index].plan), ranks)
    return [outcomes[index] for index in range(len(runs))]
