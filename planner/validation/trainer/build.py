"""A rank's part of a run put together: its stages with their weights, replicas, recompute and optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.validation.trainer.data.replicas import Replicas, attach_replicas
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.initial import fill
from planner.validation.trainer.model.stage import Stage, build_stage
from planner.validation.trainer.optimizer import Optimizer, make_optimizer
from planner.validation.trainer.pipeline import StagePart
from planner.validation.trainer.recompute import apply_recompute
from planner.validation.trainer.settings import Settings


@dataclass(frozen=True)
class Built:
    """Stages in the order of the rank's virtual stages, their replicas, and what updates them."""

    modules: list[Stage]
    replicas: Replicas
    optimizer: Optimizer


@dataclass(frozen=True)
class Blank:
    """Stages and replicas whose weights have no storage yet (device ``meta``)."""

    settings: Settings
    modules: list[Stage]
    replicas: Replicas

    def materialise(self, groups: Groups | None = None) -> Built:
        """The rank's part on its device; weights have their initial values, or any when there are no ``groups``."""
        self.replicas.materialise(self.settings.device)
        if groups is not None:
            for module in self.modules:
                fill(module, groups, self.settings.seed, tied=self.settings.model.tied_embeddings)
        return Built(self.modules, self.replicas, make_optimizer(self.replicas, self.settings))


def blank(settings: Settings, groups: Groups, parts: Sequence[StagePart]) -> Blank:
    """Everything of a rank but storage and optimizer.

    Raises:
        PlannerError: states that are sharded in a way that the trainer does not run.
    """
    modules = [
        build_stage(settings, groups, part.layers, embedding=part.embedding, head=part.head) for part in parts
    ]
    apply_recompute(modules, settings, groups.index("pp"))
    stages = {part.index: module for part, module in zip(parts, modules, strict=True)}
    return Blank(settings, modules, attach_replicas(stages, settings, groups))


def build(settings: Settings, groups: Groups, parts: Sequence[StagePart]) -> Built:
    """Everything of a rank on its device, with the initial weights; see ``blank`` for errors."""
    return blank(settings, groups, parts).materialise(groups)
