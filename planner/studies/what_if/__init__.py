"""What other hardware would change: the best plan's time, what reaches a target, and where the best layout switches."""

from planner.studies.what_if.changes import Effect, effects_of, parse_change, standard_changes
from planner.studies.what_if.question import Best, Question, ask
from planner.studies.what_if.switches import Span, Vary, parse_range, vary
from planner.studies.what_if.target import Need, Target, needs_for, parse_prices

__all__ = [
    "Best",
    "Effect",
    "Need",
    "Question",
    "Span",
    "Target",
    "Vary",
    "ask",
    "effects_of",
    "needs_for",
    "parse_change",
    "parse_prices",
    "parse_range",
    "standard_changes",
    "vary",
]
