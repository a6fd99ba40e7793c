"""What simulation changed in a ranking, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.report.text import percent, seconds

if TYPE_CHECKING:
    from planner.solvers.refinement import Refinement


def refinement_lines(refinement: Refinement) -> list[str]:
    """How many layouts were simulated, how far that is from the closed form, and how the order changed."""
    done = refinement.simulated
    lines = ["no layout was simulated"]
    if done:
        spent = seconds(refinement.seconds)
        lines = [
            f"{_layouts(len(done))} simulated in {spent}{_range_words(refinement)}",
            _order_words(refinement),
        ]
    missing = sum(item.meets_target is False for item in done)
    if missing:
        lines.append(f"{missing} of them would miss the target by simulation")
    reasons = Counter(item.reason for item in refinement.plans if item.reason is not None)
    behind = " and ranked behind" if done else ""
    lines += [f"{_layouts(count)} not simulated{behind}: {reason}" for reason, count in reasons.items()]
    return lines


def claim_line(certificate: Mapping[str, Any]) -> str:
    """What is known of simulated time over the whole space, from the certificate of a refined search."""
    claim = certificate["simulation"]
    if claim["proved"]:
        return (
            "every layout that fits was simulated: the first plan is the best of the space by simulation too"
        )
    ratio, smallest = claim["ratio_to_win"], claim["smallest_ratio"]
    if ratio is None or smallest is None:
        return "nothing is proved about simulated time"
    return (
        f"simulated time is not proved: a layout beyond them would be best only below {percent(ratio)} of its closed form"
        f" (smallest seen: {percent(smallest)})"
    )


def explanation_note(refinement: Refinement) -> str | None:
    """What to know about differences by the closed form when it does not rank the best plan first."""
    if not refinement.best_changed:
        return None
    rank = refinement.plans[0].closed_form_rank
    return f"these differences are the closed form's, which ranks this plan #{rank}: neighbours may be faster there"


def moved_words(closed_form_rank: int | None, rank: int | None) -> str:
    """Places that a plan went up or down; a dash where it stayed or was not simulated."""
    if closed_form_rank is None or rank is None or closed_form_rank == rank:
        return "-"
    return f"{'↑' if rank < closed_form_rank else '↓'} {abs(rank - closed_form_rank)}"


def _layouts(count: int) -> str:
    return f"{count} layout{'' if count == 1 else 's'}"


def _range_words(refinement: Refinement) -> str:
    found = [item.difference for item in refinement.plans if item.difference is not None]
    return f": {_signed(min(found))} to {_signed(max(found))} against the closed form"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f} %"


def _order_words(refinement: Refinement) -> str:
    agreement = "" if refinement.kendall_tau is None else f", Kendall tau {refinement.kendall_tau:.2f}"
    ranks = [item.closed_form_rank for item in refinement.simulated]
    if refinement.best_changed:
        gain = refinement.gain
        faster = "" if gain is None else f" ({percent(gain)} faster than the former best)"
        return f"simulation changed the order: best is now #{ranks[0]} of the closed form{faster}{agreement}"
    if ranks != sorted(ranks):
        return f"simulation changed the order but kept the best plan{agreement}"
    return f"simulation kept the order{agreement}"
