"""What a ranking cannot tell apart, in words."""

from __future__ import annotations

from planner.report.text import percent
from planner.solvers.noise import LEAST_CHANCE, Noise


def noise_lines(noise: Noise) -> list[str]:
    """How many of the plans are within noise of the first one, and which to try."""
    others = noise.within - 1
    ranked = len(noise.standings)
    if ranked < 2:
        return []
    if not others:
        chance = max(standing.chance for standing in noise.standings[1:])
        return [
            f"No other plan of the ranking is within noise of the first one (chance to be faster: {percent(chance)} at most)."
        ]
    count = "1 other plan is" if others == 1 else f"{others} other plans are"
    lines = [
        f"{count} within noise of the first one (at least {100 * LEAST_CHANCE:.0f} % chance to be faster, by errors that"
        " layouts of one job do not share)."
    ]
    ranks = ", ".join(f"#{place + 1}" for place in noise.trials)
    furthest = max(noise.standings[place].behind for place in noise.trials)
    lines.append(f"Try these {len(noise.trials)}: {ranks} (up to {percent(furthest)} apart by the model).")
    return lines
