"""Plans on real processes: DTensors under gloo give one process's numbers by the priced collectives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.solvers.sharding import Choice, ShardingPlan
from planner.validation.sharding.cases import built_in_models, cases
from planner.validation.sharding.functions import local_function
from planner.validation.sharding.layout import Shares
from planner.validation.sharding.runs import RankOutcome, SentCall, ShardingRun
from planner.validation.sharding.source import open_source
from planner.validation.sharding.study import ShardingOutcome, run_shardings

MODELS = {Path(source.partition(":")[0]).stem: source for source in built_in_models()}
MLP = MODELS["gpt2"].replace("gpt2", "mlp")


SMALL = """
import torch
from torch import nn
from torch.nn import functional as F

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(64, 16), nn.LayerNorm(16)
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 64, bias=False)

    def forward(self, ids, targets):
        x = self.table(ids)
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return F.cross_entropy(self.head(x).flatten(0, 1), targets.flatten())

def make():
    return Small(), (torch.randint(64, (4, 8)), torch.randint(64, (4, 8)))
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Both ends of a language model around one MLP: every rule that needs other ranks while it runs."""
    file = tmp_path / "small.py"
    file.write_text(SMALL)
    return f"{file}:make"


def test_plans_on_four_processes(small: str) -> None:
    """Chosen plans, and some at random that leave no tensor in peace; `make validate` runs six models, also on two."""
    found = cases([small], ["2x2"], ["ilp", "two rules"], at_random=3) + cases([small], ["4"], ["two rules"])
    outcomes = run_shardings([case.run for case in found])
    for case, outcome in zip(found, outcomes, strict=True):
        assert outcome.equal, (case.mesh, case.made_by, outcome.ranks[0])
        assert outcome.differences() == [], (case.mesh, case.made_by)
        assert outcome.passed
    kinds = {call.collective for outcome in outcomes for call in outcome.ranks[0].calls}
    assert kinds == {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"}
    assert {call.in_pass for outcome in outcomes for call in outcome.ranks[0].calls} == {
        "forward",
        "backward",
    }


def test_the_two_rules_are_megatrons_placement(small: str) -> None:
    """By hand (arXiv 1909.08053, section 3): one all-reduce per MLP, one per end, in forward and in backward."""
    (case,) = cases([small], ["2"], ["two rules"])
    tokens, rows = 4 * 8 * 16 * 4, 4 * 8 * 4
    sent = Counter((each.collective, each.in_pass, each.bytes) for each in case.run.plan.sent())
    assert sent == {
        ("all_reduce", "forward", tokens): 2,  # the embedding, split by vocabulary, and the MLP
        ("all_reduce", "forward", rows): 3,  # inside of the loss: maximum, sum, logit of the target
        ("all_reduce", "backward", tokens): 2,  # the inputs of the MLP and of the head
    }


def plan() -> ShardingPlan:
    (case,) = cases([MLP], ["2"], ["two rules"])
    return case.run.plan


def test_differences_are_told() -> None:
    """A rank that calls less, or more, or is off."""
    run = ShardingRun(MLP, plan())
    priced = Counter({SentCall("all_reduce", 0, "forward", 1024): 2})
    good = RankOutcome(1e-15, 1e-14, "w", 4, dict(priced))
    bad = replace(good, calls={SentCall("all_gather", 0, "forward", 1024): 1})
    outcome = ShardingOutcome(run, priced, (good, bad))
    assert outcome.equal
    assert not outcome.as_priced
    assert outcome.differences() == [
        "rank 1: all_gather of 1024 bytes on mesh dimension 0 in forward: 1 made, 0 priced",
        "rank 1: all_reduce of 1024 bytes on mesh dimension 0 in forward: 0 made, 2 priced",
    ]
    assert not ShardingOutcome(run, priced, (replace(good, gradient_error=1e-6),)).equal


def test_outcomes_survive_their_files(tmp_path: Path) -> None:
    made = RankOutcome(1e-16, 2e-16, "w", 3, {SentCall("all_reduce", 1, "backward", 64): 2})
    made.write(tmp_path, 0)
    assert RankOutcome.read(tmp_path, 0) == made
    run = ShardingRun(MLP, plan(), ("float32[4,4]",), block=True)
    run.write(tmp_path)
    assert ShardingRun.read(tmp_path) == run


@pytest.mark.parametrize(
    ("models", "meshes", "plans", "message"),
    [
        ([MLP], ["2"], ["best"], "unknown plan 'best'"),
        ([MLP], ["two"], ["ilp"], "accepted: N or NxM"),
        (["none.py:make_module"], ["2"], ["ilp"], "no such file"),
    ],
)
def test_bad_cases(models: list[str], meshes: list[str], plans: list[str], message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        cases(models, meshes, plans)


def test_models_without_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="has no numbers"):
        open_source(MODELS["llama"].replace("make_module", "layer_8b"))
    with pytest.raises(PlannerError, match="holds no numbers that can be run"):
        open_source(str(tmp_path / "graph.yaml"))


def test_random_operators_are_refused(tmp_path: Path) -> None:
    """Dropout in training: nothing to compare with."""
    file = tmp_path / "model.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def make(): return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), (torch.randn(2, 4),)\n"
    )
    *_, last = open_source(f"{file}:make").graph.operators
    assert last.splittable == ("d0", "d1")
    with pytest.raises(PlannerError, match="drops values at random"):
        local_function(Shares(last, Choice(last.name, (None,), (), ()), None))  # type: ignore[arg-type]
