"""Tables of a placement: axis orders, transfers before and after, links that are avoided, who plays which ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from planner.report.tables import new_table
from planner.report.text import percent, seconds
from planner.solvers.placement.axis_orders import AxisOrder
from planner.solvers.placement.links_used import SLOW, LinkUse
from planner.solvers.placement.place import Placement

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN_ORDERS = 12
SHOWN_LINKS = 8
SHOWN_NODES = 256
COLUMNS = 4
"""Nodes side by side in the map of ranks."""

ODD_UNITS = 3.0
"""Factor between the measured rates and those of the cluster's file that looks like a mistake in units."""

METHODS = {
    "unchanged": "rank order is as good as any placement can be",
    "exhaustive": "all permutations tried",
    "annealing": "annealing",
}


def print_orders(console: Console, orders: Sequence[AxisOrder]) -> None:
    """The table of axis orders and what to do about it."""
    console.print(orders_table(orders))
    console.print(orders_line(orders))


def orders_table(orders: Sequence[AxisOrder]) -> Table:
    """Distinct orders of the mesh axes, fastest first."""
    table = new_table("Axis orders (innermost first)")
    table.add_column("#", justify="right")
    table.add_column("order")
    for heading in ("step", "against the plan", "fits"):
        table.add_column(heading, justify="right", no_wrap=True)
    own = next(order.step_time_s for order in orders if order.chosen)
    for place, order in enumerate(orders, start=1):
        if place <= SHOWN_ORDERS or order.chosen:
            change = "the plan's" if order.chosen else f"{100 * (order.step_time_s / own - 1):+.1f} %"
            words = " ".join(order.moved) or "one rank"
            table.add_row(
                str(place),
                words,
                seconds(order.step_time_s),
                change,
                "yes" if order.fits else "no",
                style="bold" if order.chosen else None,
            )
    return table


def orders_line(orders: Sequence[AxisOrder]) -> str:
    """Whether another order would be faster."""
    best, own = orders[0], next(order for order in orders if order.chosen)
    hidden = max(len(orders) - SHOWN_ORDERS, 0)
    rest = f" ({hidden} slower ones are not shown)" if hidden else ""
    if best.chosen or best.step_time_s >= own.step_time_s or not best.fits:
        return f"the plan's order is the fastest of {len(orders)} distinct ones{rest}"
    knob = ",".join(best.order)
    return f"faster by {percent(1 - best.step_time_s / own.step_time_s)}: axis_order=[{knob}]{rest}"


def print_placement(console: Console, placement: Placement, *, brief: bool) -> None:
    """What placement gains, what it avoids, and the map of ranks.

    Args:
        brief: only the main table.
    """
    console.print(terms_table(placement))
    if brief:
        return
    console.print(*verdict_lines(placement), *link_lines(placement), "", sep="\n")
    if placement.changed:
        console.print(ranks_table(placement))


def terms_table(placement: Placement) -> Table:
    """Seconds of each kind of transfer and of the step: as the cluster's file says, in rank order, as placed."""
    table = new_table("Transfers between nodes, seconds of a step")
    table.add_column("transfers")
    for heading in ("cluster file", "rank order", "placed", "change", "hidden"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in placement.terms:
        table.add_row(
            change.term.label,
            seconds(change.file_s),
            seconds(change.rank_order_s),
            seconds(change.placed_s),
            _change(change.rank_order_s, change.placed_s),
            seconds(change.term.hidden_s),
        )
    before, after = placement.step_s(placed=False), placement.step_s(placed=True)
    table.add_row(
        "step",
        seconds(placement.step_file_s),
        seconds(before),
        seconds(after),
        _change(before, after),
        "",
        style="bold",
    )
    return table


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before > 0 and after != before else "-"


def verdict_lines(placement: Placement) -> Iterator[str]:
    """How good the placement is, and what looks odd."""
    found = placement.found
    if found.method == "unchanged":
        yield f"nothing to gain: {METHODS['unchanged']}"
    else:
        if not placement.changed:
            yield "no placement was found that beats rank order"
        proof = "proved best" if found.proved else f"bound {seconds(found.bound_s)}, gap {percent(found.gap)}"
        restarts = f", {found.restarts} restarts, seed {placement.options.seed}" if found.restarts else ""
        yield (
            f"{METHODS[found.method]}: {found.moves:,} placements in {seconds(placement.seconds)}{restarts}; "
            f"unhidden communication {seconds(found.rank_order_s)} -> {seconds(found.cost_s)}, {proof}"
        )
    rate, median = placement.file_median, placement.uses.median
    if not 1 / ODD_UNITS < median / rate < ODD_UNITS:
        yield (
            f"the links' median is {median / 1e9:.3g} GB/s, the cluster's file says {rate / 1e9:.3g} GB/s between two nodes; "
            "the matrix should hold GB/s of whole nodes, all cards together"
        )


def link_lines(placement: Placement) -> Iterator[str]:
    """Slow links before and after."""
    uses, names = placement.uses, placement.links.names
    if not uses.slow:
        yield f"no link is slower than {100 * SLOW:.0f} % of the median ({uses.median / 1e9:.4g} GB/s)"
        return
    yield (
        f"{len(uses.slow)} of {len(names) * (len(names) - 1)} links are slower than {100 * SLOW:.0f} % of the median "
        f"({uses.median / 1e9:.4g} GB/s)"
    )
    yield from _listed("avoided", uses.avoided(), uses, placement, before=True)
    yield from _listed("still used", uses.kept(), uses, placement, before=False)
    if len(placement.idle):
        yield f"idle: {', '.join(placement.names(placement.idle))}"


def _listed(
    word: str, pairs: Sequence[tuple[int, int]], uses: LinkUse, placement: Placement, *, before: bool
) -> Iterator[str]:
    """Pairs of nodes, the slowest first."""
    if not pairs:
        return
    names, rates = placement.links.names, placement.links.bandwidth
    used = uses.before if before else uses.after
    slowest = sorted(pairs, key=lambda pair: (float(rates[pair]), pair))[:SHOWN_LINKS]
    words = [
        f"{names[a]} -> {names[b]} ({rates[a, b] / 1e9:.3g} GB/s, {'+'.join(sorted(used[a, b]))})"
        for a, b in slowest
    ]
    more = f" and {len(pairs) - len(slowest)} more" if len(pairs) > len(slowest) else ""
    yield f"  {word}: {', '.join(words)}{more}"


def ranks_table(placement: Placement) -> Table:
    """Which node plays which ranks, several side by side."""
    table = new_table("Ranks")
    for _ in range(COLUMNS):
        table.add_column("ranks", justify="right", no_wrap=True)
        table.add_column("node", no_wrap=True)
    size = placement.devices_per_node
    cells = [
        (f"{place * size}-{(place + 1) * size - 1}", name)
        for place, name in enumerate(placement.names(placement.nodes[:SHOWN_NODES]))
    ]
    rows = -(-len(cells) // COLUMNS)
    for row in range(rows):
        side = [cells[at] for at in range(row, len(cells), rows)]
        table.add_row(*(text for pair in side for text in pair))
    return table
