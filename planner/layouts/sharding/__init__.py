"""Sharding rules over named axes: what each operator needs, what it yields, and the communication in between."""

from planner.layouts.sharding.derive import Derivation, Exchange, Saved, derive
from planner.layouts.sharding.pattern import Pattern
from planner.layouts.sharding.placement import Placement

__all__ = ["Derivation", "Exchange", "Pattern", "Placement", "Saved", "derive"]
