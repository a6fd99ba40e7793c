"""Constants of kinds of network from timings of collectives. Docs: docs/collectives.md."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Constant, Key, constant
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.points import FloatArray, fit_points
from planner.costs.collectives import CollectiveConstants
from planner.errors import PlannerError
from planner.hardware.calibration import with_link
from planner.hardware.calibration_files import CalibratedScope, Calibration, FittedConstant
from planner.hardware.types import Cluster, NetworkLevel
from planner.layouts.mesh import spread
from planner.validation.collectives.compare import collective_files, read_collectives
from planner.validation.collectives.machines import cluster_of
from planner.validation.collectives.sweeps import Sweep

CALLS = ("start_s", "ramp", "efficiency", "in_network_ramp", "in_network_efficiency")
"""Constants of calls in which all members take part."""

OWN_CALLS = ("start_s", "latency_s", "ramp", "efficiency")
"""The same of one collective of a library on the host, whose members wake each other at every hop."""

MESSAGES = ("message_start_s", "efficiency")
"""Constants of a send and receive."""

ISSUE = "issue_s"
"""Of the hosts of a source, from one call to the next: fitted beside the constants of its links, and not written with them."""

Progress = Callable[[float, str], None]
BooleanArray = NDArray[np.bool_]

LEAST_TIMINGS = 8
"""Timings that cross a kind of network before anything is fitted to it."""

LEAST_RESPONSE = 0.002
"""A constant whose spread moves no timing by this part is not fitted."""

LEAST_MOVE = 0.05
"""A constant that the fit leaves this close to its prior, in spreads, stays the prior: the figure of the hardware stands."""

STIFFNESS = 0.005
"""Log error per timing that is as dear as moving a constant by one spread of its prior, within one sweep."""

ACROSS_SOURCES = 0.01
"""The same for constants that all sources share: these differ in what their times hold besides the transfer."""


@dataclass(frozen=True)
class Priced:
    """A sweep on the cluster that its machine has from priors alone.

    Args:
        crossed: levels that its group crosses, innermost first.
        own: constants are those of its collective alone.
    """

    sweep: Sweep
    cluster: Cluster
    crossed: tuple[int, ...]
    own: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of network that it crosses."""
        found = (self.cluster.network[index].kind for index in self.crossed)
        return frozenset(kind for kind in found if kind is not None)

    @property
    def issue(self) -> Key:
        """The time between calls of its source's hosts."""
        return Key("network", f"hosts of {self.sweep.labels['family']}", ISSUE)

    @property
    def scopes(self) -> frozenset[str]:
        """Scopes of all constants that it may depend on."""
        return self.kinds | {self.issue.scope}

    def alone(self, values: Mapping[Key, float]) -> FloatArray:
        """Seconds of its timings where no rank waits for the host of another."""
        levels = tuple(with_link(level, _of_kind(values, level)) for level in self.cluster.network)
        return replace(self.sweep, issue_s=0.0).predicted(replace(self.cluster, network=levels))

    def predicted(self, values: Mapping[Key, float]) -> FloatArray:
        """Seconds of its timings with these values of the constants, priors for the others."""
        return self._both(values)[1]

    def nearest(self, values: Mapping[Key, float]) -> FloatArray:
        """Seconds with or without a wait, whichever is nearer to what was measured."""
        alone, waiting = self._both(values)
        return np.where(self._miss(waiting) < self._miss(alone), waiting, alone)

    def usual(self, values: Mapping[Key, float], known: BooleanArray) -> FloatArray:
        """Seconds with or without a wait, whichever explains the known timings better.

        Args:
            known: (timings,).
        """
        alone, waiting = self._both(values)
        return waiting if self._miss(waiting)[known].sum() <= self._miss(alone)[known].sum() else alone

    def _miss(self, seconds: FloatArray) -> FloatArray:
        return np.abs(np.log(seconds / self.sweep.measured_s))

    def _both(self, values: Mapping[Key, float]) -> tuple[FloatArray, FloatArray]:
        alone = self.alone(values)
        least = values.get(self.issue, self.sweep.issue_s) + self.sweep.launch_s
        return alone, np.maximum(alone, least)

    def constants(self, *, levels: Iterable[int] | None = None) -> Iterator[Constant]:
        """Constants of the kinds of network that it crosses.

        Args:
            levels: only those of these levels.
        """
        names: tuple[str, ...] = (
            MESSAGES if self.sweep.collective == "send_recv" else OWN_CALLS if self.own else CALLS
        )
        if self.own:
            names = tuple(f"{name}.{self.sweep.collective}" for name in names)
        for index in self.crossed if levels is None else levels:
            level = self.cluster.network[index]
            for name in names:
                prior = _prior(level, name)
                if level.kind is not None and prior is not None:
                    made = constant(Key("network", level.kind, name), prior)
                    if made is not None and self.responds(made):
                        yield made
        if self.sweep.issue_s > 0.0 and (made := constant(self.issue, self.sweep.issue_s)) is not None:
            yield made

    def responds(self, made: Constant) -> bool:
        """Whether a move of a constant by one spread of its prior changes a timing."""
        moved = self.predicted({made.key: made.value(made.centre + made.spread)})
        return bool(np.abs(np.log(moved / self.predicted({}))).max() >= LEAST_RESPONSE)


def priced(sweeps: Iterable[Sweep]) -> list[Priced]:
    """The sweeps of the collective library on their clusters; kernels that bypass it have starts of their own."""
    found = []
    for sweep in sweeps:
        if sweep.constants is None:
            cluster = cluster_of(sweep.machine, calibrated=False)
            ranks = sweep.machine.ranks
            members = spread(ranks, 1, cluster, devices=ranks).ranks_per_level[0]
            found.append(Priced(sweep, cluster, tuple(int(index) for index in np.flatnonzero(members > 1))))
    return found


def fit_values(
    constants: Sequence[Constant],
    parts: Sequence[tuple[Priced, BooleanArray]],
    stiffness: float = STIFFNESS,
) -> Mapping[Key, float]:
    """Values of constants from some timings of some sweeps; a sweep of n timings counts as sqrt(n).

    Args:
        parts: each with a mask of its timings.
    """
    chosen = [replace(part, sweep=part.sweep.some(mask)) for part, mask in parts]
    uses = [[c.key for c in constants if c.key.scope in part.scopes] for part in chosen]
    known: dict[int, tuple[tuple[float, ...], FloatArray]] = {}

    def predict(values: Mapping[Key, float]) -> FloatArray:
        for index, (part, keys) in enumerate(zip(chosen, uses, strict=True)):
            mine = tuple(values[key] for key in keys)
            if index not in known or known[index][0] != mine:
                known[index] = mine, part.nearest(values)
        return np.concatenate([known[index][1] for index in range(len(chosen))])

    measured = np.concatenate([part.sweep.measured_s for part in chosen])
    weights = np.concatenate(
        [np.full(len(part.sweep.timings), len(part.sweep.timings) ** -0.5) for part in chosen]
    )
    return fit_points(constants, predict, measured, weights, stiffness=stiffness).values


def fit_collectives(
    paths: Sequence[str | Path], progress: Progress = lambda done, message: None, *, name: str = "collectives"
) -> Calibration:
    """The calibration of all kinds of network that the files time, from every sweep that is not scored apart.

    Args:
        paths: as ``compare_collectives`` takes them.

    Raises:
        PlannerError: a file of another format, a wrong cell, or no sweep that counts.
    """
    read = [sweep for sweeps, _ in read_collectives(paths) for sweep in sweeps]
    parts = priced(sweep for sweep in read if sweep.apart is None)
    fitted = fit_priced(parts, progress)
    if not fitted:
        raise PlannerError("the files hold no timing of a collective library whose network is stated")
    return Calibration(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        data="collectives",
        data_sha256=data_digest(collective_files(paths)),
        rows=sum(len(part.sweep.timings) for part in parts),
        networks=fitted,
    )


def fit_priced(
    parts: Sequence[Priced], progress: Progress = lambda done, message: None
) -> dict[str, CalibratedScope]:
    """Fitted constants by kind of network; none of a kind that fewer than ``LEAST_TIMINGS`` timings cross."""
    fitted: dict[str, CalibratedScope] = {}
    groups = _together(parts)
    for index, group in enumerate(groups):
        progress(index / len(groups), f"fitting {', '.join(sorted(group[0].kinds))}")
        known = Counter(scope for part in group for scope in part.scopes for _ in part.sweep.timings)
        found = (made for part in group for made in part.constants())
        constants = {made.key: made for made in found if known[made.key.scope] >= LEAST_TIMINGS}
        whole = [(part, np.ones(len(part.sweep.timings), dtype=np.bool_)) for part in group]
        if constants:
            values = fit_values(tuple(constants.values()), whole, ACROSS_SOURCES)
            moved = {
                key: made
                for key, made in constants.items()
                if key.name != ISSUE and _moved(made, values[key])
            }
            fitted |= _scopes(moved, values, group)
    return dict(sorted(fitted.items()))


def _moved(made: Constant, value: float) -> bool:
    return abs(made.position(value) - made.centre) >= LEAST_MOVE * made.spread


def _together(parts: Iterable[Priced]) -> list[list[Priced]]:
    """Sweeps in groups that share no kind of network, so that each group is a fit of its own."""
    groups: list[tuple[set[str], list[Priced]]] = []
    for part in parts:
        mine = [group for group in groups if group[0] & part.kinds]
        groups = [group for group in groups if not group[0] & part.kinds]
        kinds = set(part.kinds).union(*(group[0] for group in mine))
        groups.append((kinds, [*(member for group in mine for member in group[1]), part]))
    return [members for _, members in groups]


def _scopes(
    constants: Mapping[Key, Constant], values: Mapping[Key, float], parts: Sequence[Priced]
) -> dict[str, CalibratedScope]:
    touching: dict[Key, list[Sweep]] = defaultdict(list)
    for part in parts:
        for made in part.constants():
            if made.key in constants:
                touching[made.key].append(part.sweep)
    fitted: dict[str, dict[str, FittedConstant]] = defaultdict(dict)
    for key, made in sorted(constants.items()):
        sweeps = touching[key]
        fitted[key.scope][key.name] = FittedConstant(
            value=float(f"{values[key]:.5g}"),
            prior=float(f"{made.prior:.5g}"),
            spread=made.rule.spread,
            lower=made.rule.lower,
            upper=made.rule.upper,
            rows=sum(len(sweep.timings) for sweep in sweeps),
            groups=len({(sweep.labels["family"], sweep.labels["accelerator"]) for sweep in sweeps}),
        )
    families: dict[str, set[str]] = defaultdict(set)
    for key, sweeps in touching.items():
        families[key.scope] |= {str(sweep.labels["family"]) for sweep in sweeps}
    return {
        kind: CalibratedScope(members=(kind,), families=tuple(sorted(families[kind])), constants=found)
        for kind, found in fitted.items()
    }


def _of_kind(values: Mapping[Key, float], level: NetworkLevel) -> dict[str, float]:
    return {key.name: value for key, value in values.items() if key.scope == level.kind}


def _prior(level: NetworkLevel, name: str) -> float | None:
    """The value of a constant before any fit, None where the level has no such thing."""
    if name.startswith("in_network") and not level.in_network_reduction:
        return None
    figure, _, collective = name.partition(".")
    stated: float | None = getattr(level.of(collective), figure)
    return CollectiveConstants().base_s if stated is None and figure.endswith("start_s") else stated
