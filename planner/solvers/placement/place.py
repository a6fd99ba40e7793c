"""Placement of one plan: the best axis order of the regular network, and the best node for each place on measured links."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.hardware.links import Links
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.solvers.placement.anneal import Found, Options, Progress, best_placement
from planner.solvers.placement.axis_orders import AxisOrder, axis_orders
from planner.solvers.placement.derive import plan_traffic
from planner.solvers.placement.file_rates import file_rates
from planner.solvers.placement.links_used import LinkUse, links_used
from planner.solvers.placement.score import Nodes, Scorer, scorer
from planner.solvers.placement.traffic import Term


@dataclass(frozen=True)
class TermChange:
    """One kind of transfer before and after.

    Args:
        term: the transfers. rank_order_s, placed_s: seconds of a step with nodes in their own order and as placed.
        file_s: the same at the rates that the cluster's file states.
    """

    term: Term
    rank_order_s: float
    placed_s: float
    file_s: float

    def exposed(self, seconds: float) -> float:
        """What of so many seconds computation does not hide."""
        return max(seconds - self.term.hidden_s, 0.0)


@dataclass(frozen=True, eq=False)
class Placement:
    """Nodes for the places of a plan.

    Args:
        links: the measured rates.
        found: the best placement and its bound.
        terms: what each kind of transfer gains.
        step_file_s: the plan's own step, at the rates of the cluster's file.
        uses: pairs of nodes that the transfers use before and after.
        places: nodes that the layout needs; further ones stay idle.
        devices_per_node: ranks of one place.
        file_median: median of the bytes/s between two nodes by the cluster's file.
        options: of the search. seconds: that it took.
    """

    links: Links
    found: Found
    terms: tuple[TermChange, ...]
    step_file_s: float
    uses: LinkUse
    places: int
    devices_per_node: int
    file_median: float
    options: Options
    seconds: float

    @property
    def nodes(self) -> Nodes:
        """Node of each place in use."""
        return self.found.nodes[: self.places]

    @property
    def idle(self) -> Nodes:
        """Nodes that stay idle."""
        return np.sort(self.found.nodes[self.places :])

    @property
    def changed(self) -> bool:
        """Whether any place has another node than in rank order."""
        return bool((self.nodes != np.arange(self.places)).any())

    def step_s(self, *, placed: bool) -> float:
        """Step time on the measured links: the plan's own, with every kind of transfer as exposed as they make it."""
        return self.step_file_s + sum(
            change.exposed(change.placed_s if placed else change.rank_order_s) - change.exposed(change.file_s)
            for change in self.terms
        )

    def names(self, nodes: Sequence[int] | Nodes) -> list[str]:
        """Names of nodes."""
        return [self.links.names[int(node)] for node in nodes]

    def to_json(self) -> Mapping[str, Any]:
        """Plain data."""
        found, size = self.found, self.devices_per_node
        return {
            "method": found.method,
            "changed": self.changed,
            "cost_s": found.cost_s,
            "rank_order_cost_s": found.rank_order_s,
            "bound_s": found.bound_s,
            "gap": found.gap,
            "proved": found.proved,
            "seed": self.options.seed,
            "restarts": found.restarts,
            "moves": found.moves,
            "seconds": self.seconds,
            "step_time_s": {
                "cluster_file": self.step_file_s,
                "rank_order": self.step_s(placed=False),
                "placed": self.step_s(placed=True),
            },
            "terms": [
                {
                    "axis": change.term.axis,
                    "pattern": change.term.pattern,
                    "hidden_s": change.term.hidden_s,
                    "cluster_file_s": change.file_s,
                    "rank_order_s": change.rank_order_s,
                    "placed_s": change.placed_s,
                }
                for change in self.terms
            ],
            "nodes": [int(node) for node in self.nodes],
            "ranks": [
                {"node": name, "first_rank": place * size, "last_rank": (place + 1) * size - 1}
                for place, name in enumerate(self.names(self.nodes))
            ],
            "idle": self.names(self.idle),
            "links": self.uses.to_json(self.links),
        }


@dataclass(frozen=True, eq=False)
class PlacedPlan:
    """What ``plan place`` answers.

    Args:
        prediction: of the layout. orders: of its mesh axes, fastest first. placement: None without measured links.
    """

    prediction: Prediction
    orders: tuple[AxisOrder, ...]
    placement: Placement | None


def place_plan(
    job: Job,
    layout: Layout,
    links: Links | None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> PlacedPlan:
    """Axis orders of a layout and, on measured links, nodes for its places.

    Args:
        links: of at least as many nodes as the job uses; those that serve worst stay idle.

    Raises:
        PlannerError: the layout is illegal, the job runs on one node, or there are too few nodes.
    """
    prediction = predict(job, layout)
    orders = axis_orders(job, layout)
    placement = None
    if links is not None:
        placement = place_nodes(job, layout, prediction, links, options or Options(), progress)
    return PlacedPlan(prediction, orders, placement)


def place_nodes(
    job: Job,
    layout: Layout,
    prediction: Prediction,
    links: Links,
    options: Options,
    progress: Progress | None = None,
) -> Placement:
    """Nodes for the places of a layout; arguments and errors as ``place_plan``."""
    traffic = plan_traffic(job, layout, prediction)
    if len(links) < traffic.places:
        raise PlannerError(f"has {len(links)} nodes, the plan needs {traffic.places}", file=links.path)
    began = time.perf_counter()
    measured = scorer(traffic, links.bandwidth)
    found = best_placement(measured, options, progress)
    seconds = time.perf_counter() - began
    stated = file_rates(job.cluster, len(links))
    even = scorer(traffic, stated)
    return Placement(
        links=links,
        found=found,
        terms=_changes(measured, even, found.nodes),
        step_file_s=prediction.step_time_s,
        uses=links_used(traffic, links, found.nodes),
        places=traffic.places,
        devices_per_node=job.cluster.devices_per_node,
        file_median=float(np.median(stated[~np.eye(len(links), dtype=np.bool_)])),
        options=options,
        seconds=seconds,
    )


def _changes(measured: Scorer, even: Scorer, nodes: Nodes) -> tuple[TermChange, ...]:
    start = np.arange(len(nodes))
    columns = (measured.term_seconds(start), measured.term_seconds(nodes), even.term_seconds(start))
    return tuple(
        TermChange(term, before, after, file)
        for term, before, after, file in zip(measured.traffic.terms, *columns, strict=True)
    )
