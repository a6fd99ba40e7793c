"""What may be fitted: constants by scope with prior, spread and physical bounds. Docs: docs/calibration.md."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from planner.hardware.calibration import ScopeKind

Scale = Literal["factor", "efficiency", "share"]
"""Factors move in logarithms; efficiencies and shares, which lie between 0 and 1, in log-odds."""

CHIPS: Mapping[str, tuple[str, ...]] = {
    "v100-sxm": ("v100-sxm-16gb", "v100-sxm-32gb"),
    "a100-sxm": ("a100-sxm-40gb", "a100-sxm-80gb", "a800-sxm-80gb"),
    "h100-sxm": ("h100-sxm-80gb", "h800-sxm-80gb", "h200-sxm-141gb"),
}
"""Boards that carry the same chip at the same clocks; every other accelerator is a scope of its own."""

LINKS: Mapping[str, tuple[str, ...]] = {"hccl-910b": ("hccs-910b", "hccn-910b")}
"""Network kinds of one device under one library that steps slow alike; every other kind is a scope of its own. The ports
between nodes of the Ascend 910B are in few published runs, too few for a share of their own beside a measured rate."""


class Key(NamedTuple):
    """One constant: what kind of thing, which one, which figure of it."""

    kind: ScopeKind
    scope: str
    name: str

    def __str__(self) -> str:
        return f"{self.scope} {self.name}"


IN_STEP_PRIOR = 0.9
"""Of what a link reaches alone, what training steps see: their flows meet, and ranks wait for the slowest."""


@dataclass(frozen=True)
class Rule:
    """Spread and bounds of the constants whose names match a pattern.

    Args:
        spread: standard deviation of the logarithm; of a share, of the share itself.
    """

    kind: ScopeKind
    pattern: str
    scale: Scale
    spread: float
    lower: float
    upper: float


RULES: tuple[Rule, ...] = (
    Rule("accelerator", "matmul_efficiency.16bit", "efficiency", 0.12, 0.2, 0.99),
    Rule("accelerator", "matmul_efficiency.*", "efficiency", 0.15, 0.15, 0.99),
    Rule("accelerator", "matmul_k_half", "factor", 0.7, 10.0, 4000.0),
    Rule("accelerator", "matmul_mn_half", "factor", 0.7, 5.0, 4000.0),
    Rule("accelerator", "memory_efficiency", "efficiency", 0.1, 0.4, 0.99),
    Rule("accelerator", "attention.unfused", "efficiency", 0.4, 0.08, 0.95),
    Rule("accelerator", "attention.*", "efficiency", 0.25, 0.05, 0.9),
    Rule("accelerator", "alone.matmul", "efficiency", 0.12, 0.2, 0.99),
    Rule("accelerator", "alone.*", "efficiency", 0.3, 0.03, 0.95),
    Rule("accelerator", "eager.*", "factor", 0.4, 0.05, 1.3),
    Rule("architecture", "matmul_tile_k", "factor", 0.7, 5.0, 2000.0),
    Rule("architecture", "matmul_wave", "share", 0.2, 0.01, 0.99),
    Rule("architecture", "matmul_stride", "factor", 0.7, 0.002, 0.4),
    Rule("architecture", "matmul_traffic", "efficiency", 0.1, 0.3, 0.99),
    Rule("architecture", "floor_s", "factor", 0.4, 5e-7, 3e-5),
    Rule("architecture", "launch_s", "factor", 0.4, 5e-7, 3e-5),
    Rule("attention", "*_half", "factor", 0.5, 5.0, 5000.0),
    Rule("attention", "width_*", "factor", 0.3, 0.2, 2.0),
    Rule("accelerator", "cast_factor", "factor", 0.4, 0.1, 10.0),
    Rule("network", "in_step_efficiency", "share", 0.15, 0.05, 0.995),
    Rule("network", "efficiency.*", "efficiency", 0.5, 0.002, 0.995),
    Rule("network", "latency_s.*", "factor", 1.0, 1e-7, 0.1),
    Rule("network", "*start_s.*", "factor", 1.0, 1e-7, 0.1),
    Rule("network", "ramp.*", "factor", 0.7, 0.02, 20.0),
    Rule("network", "issue_s", "factor", 0.5, 5e-6, 2e-4),
    Rule("network", "*efficiency", "efficiency", 0.1, 0.05, 0.995),
    Rule("network", "*start_s", "factor", 0.5, 5e-7, 1e-2),
    Rule("network", "*ramp", "factor", 0.7, 0.02, 20.0),
    Rule("framework", "hidden.*", "share", 0.25, 0.002, 0.998),
    Rule("framework", "elementwise_factor", "factor", 0.4, 0.2, 10.0),
    Rule("framework", "host_factor", "factor", 0.6, 0.05, 10.0),
    Rule("framework", "expert_factor", "factor", 0.6, 0.05, 20.0),
)
"""First match. Spreads: of best-shape and in-run kernel rates around their priors (matmul .12 - .15, attention .25 - .4),
of shares of the link rate that steps see (.15) and of hidden traffic (.25), of rates of links alone (.1), of the starts of
nccl-tests on like nodes (12 to 44 us: .5)."""


@dataclass(frozen=True)
class Constant:
    """One constant to fit; ``position`` runs over all real numbers, with the prior at ``centre``."""

    key: Key
    prior: float
    rule: Rule

    @property
    def centre(self) -> float:
        return self.position(self.prior)

    @property
    def spread(self) -> float:
        """Standard deviation of the position."""
        if self.rule.scale == "factor":
            return self.rule.spread
        slope = 1.0 - self.prior if self.rule.scale == "efficiency" else self.prior * (1.0 - self.prior)
        return self.rule.spread / slope

    @property
    def bounds(self) -> tuple[float, float]:
        return self.position(self.rule.lower), self.position(self.rule.upper)

    def position(self, value: float) -> float:
        """Logarithm of a factor, log-odds of an efficiency or share."""
        return math.log(value) if self.rule.scale == "factor" else math.log(value / (1.0 - value))

    def value(self, position: float) -> float:
        """Inverse of ``position``."""
        return math.exp(position) if self.rule.scale == "factor" else 1.0 / (1.0 + math.exp(-position))


def constant(key: Key, prior: float) -> Constant | None:
    """The constant with the rule of its name; None when it has no rule or its prior lies outside the bounds (a profile
    that hides no traffic of a kind, a compiled framework without host work)."""
    for rule in RULES:
        if rule.kind == key.kind and fnmatch.fnmatchcase(key.name, rule.pattern):
            return Constant(key, prior, rule) if rule.lower < prior < rule.upper else None
    return None


def chip_of(accelerator: str) -> str:
    """The scope of an accelerator."""
    return next((chip for chip, members in CHIPS.items() if accelerator in members), accelerator)


def links_of(network_kind: str) -> str:
    """The scope of a network kind."""
    return next((links for links, members in LINKS.items() if network_kind in members), network_kind)


def members_of(key: Key) -> tuple[str, ...]:
    """Catalogue names that a scope covers."""
    groups: Mapping[str, Mapping[str, tuple[str, ...]]] = {"accelerator": CHIPS, "network": LINKS}
    return groups.get(key.kind, {}).get(key.scope, (key.scope,))
