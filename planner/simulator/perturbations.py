"""What makes devices unequal: slow devices and links, spread of speeds, jitter of passes. Docs: docs/simulator.md."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError, suggest
from planner.hardware.types import Cluster
from planner.units import parse_quantity

Floats = NDArray[np.float64]

HOST = "host"
"""Name of the link between a device and its host, beside the names of the network levels."""

LARGEST_SPREAD = 1.0
"""Standard deviation over the mean above which a spread is a slip of the pen."""

_SPEEDS, _PASSES = 1, 2
"""Independent streams of random numbers under one seed."""

_Key = TypeVar("_Key", int, tuple[int, str])

_RANKS = re.compile(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?")


@dataclass(frozen=True)
class Perturbations:
    """Deviations from equal devices and whole links.

    Args:
        slow_devices: device -> share of the nominal computing speed that is left.
        slow_links: (device, level name or ``host``) -> share of the port's capacity that is left, both directions.
        speed_spread: standard deviation of the devices' speeds over their mean, log-normal.
        jitter: standard deviation of a pass's duration over its mean, log-normal, drawn for every pass.
        seed: of spread and jitter.
    """

    slow_devices: Mapping[int, float] = field(default_factory=dict)
    slow_links: Mapping[tuple[int, str], float] = field(default_factory=dict)
    speed_spread: float = 0.0
    jitter: float = 0.0
    seed: int = 0


def parse_perturbations(
    cluster: Cluster,
    devices: int,
    *,
    slow_devices: Sequence[str] = (),
    slow_links: Sequence[str] = (),
    speed_spread: str | float = 0.0,
    jitter: str | float = 0.0,
    seed: int = 0,
) -> Perturbations:
    """Perturbations as the command line states them.

    Args:
        cluster: names the levels.
        devices: of the job.
        slow_devices: ``17=0.8`` or ``16-23=80%``.
        slow_links: ``17:infiniband=0.5``, with a range of devices too; ``17:host=0.5`` for the link to the host.
        speed_spread, jitter: ``2%`` or 0.02.
        seed: a whole number from 0.

    Raises:
        PlannerError: a malformed value, a device or level that is not there, a share outside (0, 1], a device or link
            named twice; the field is the option's name.
    """
    speeds: dict[int, float] = {}
    for text in slow_devices:
        ranks, share = _setting(text, "slow_device", "17=0.8 or 16-23=0.8")
        for device in _devices(ranks, devices, text, "slow_device"):
            _once(speeds, device, share, f"device {device}", "slow_device")
    links: dict[tuple[int, str], float] = {}
    for text in slow_links:
        where, share = _setting(text, "slow_link", "17:infiniband=0.5")
        ranks, separator, name = where.partition(":")
        if not separator:
            raise _refused(text, "17:infiniband=0.5", "slow_link")
        level = _check_level(name.strip(), cluster)
        for device in _devices(ranks, devices, text, "slow_link"):
            _once(links, (device, level), share, f"link {level} of device {device}", "slow_link")
    if seed < 0:
        raise PlannerError(f"found {seed}; accepted: a whole number from 0", field="seed")
    return Perturbations(
        slow_devices=speeds,
        slow_links=links,
        speed_spread=_spread(speed_spread, "speed_spread"),
        jitter=_spread(jitter, "jitter"),
        seed=seed,
    )


def device_speeds(perturbations: Perturbations, devices: int) -> Floats:
    """(devices,): each device's computing speed as a multiple of the nominal one.

    With a spread, speeds are log-normal with mean 1; the same seed gives a device the same speed in jobs of any size.

    Raises:
        PlannerError: a slow device that is not there, or a share outside (0, 1].
    """
    random = np.random.default_rng([perturbations.seed, _SPEEDS])
    speeds = _around_one(random, perturbations.speed_spread, (devices,))
    for device, share in perturbations.slow_devices.items():
        _check_device(device, devices, "slow_device")
        speeds[device] *= _check_share(share, "slow_device")
    return speeds


def link_factors(perturbations: Perturbations, cluster: Cluster, devices: int) -> Floats:
    """(devices, levels + 1): share of each port's capacity that is left, innermost level first, the host's link last.

    Raises:
        PlannerError: a slow link that is not there, or a share outside (0, 1].
    """
    columns = {level.name: index for index, level in enumerate(cluster.network)} | {
        HOST: len(cluster.network)
    }
    factors = np.ones((devices, len(columns)))
    for (device, level), share in perturbations.slow_links.items():
        _check_level(level, cluster)
        _check_device(device, devices, "slow_link")
        factors[device, columns[level]] = _check_share(share, "slow_link")
    return factors


def pass_jitter(perturbations: Perturbations, shape: tuple[int, ...]) -> Floats:
    """Multipliers of pass durations, log-normal with mean 1, independent of each other.

    Args:
        shape: usually (actions, devices): every device draws for itself, so devices that jitter do not act alike.
    """
    random = np.random.default_rng([perturbations.seed, _PASSES])
    return _around_one(random, perturbations.jitter, shape)


def _around_one(random: np.random.Generator, spread: float, shape: tuple[int, ...]) -> Floats:
    """Log-normal values of mean 1 and standard deviation ``spread``."""
    variance = math.log1p(spread**2)
    return np.exp(math.sqrt(variance) * random.standard_normal(shape) - variance / 2.0)


def _setting(text: str, field_name: str, example: str) -> tuple[str, float]:
    where, separator, share = text.rpartition("=")
    if not separator or not where.strip():
        raise _refused(text, example, field_name)
    return where, _check_share(parse_quantity(share, "1", field=field_name), field_name)


def _devices(text: str, devices: int, setting: str, field_name: str) -> range:
    match = _RANKS.fullmatch(text)
    if match is None:
        raise _refused(setting, "a device such as 17 or a range such as 16-23", field_name)
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if last < first:
        raise PlannerError(f"found '{setting}'; the range {first}-{last} runs backwards", field=field_name)
    _check_device(last, devices, field_name)
    return range(first, last + 1)


def _once(found: dict[_Key, float], key: _Key, share: float, what: str, field_name: str) -> None:
    if key in found:
        raise PlannerError(f"{what} is named twice", field=field_name)
    found[key] = share


def _check_device(device: int, devices: int, field_name: str) -> None:
    if not 0 <= device < devices:
        raise PlannerError(
            f"found device {device}; the job has {devices:,} devices, 0 to {devices - 1}", field=field_name
        )


def _check_level(level: str, cluster: Cluster) -> str:
    names = [*(known.name for known in cluster.network), HOST]
    if level not in names:
        raise PlannerError(
            f"the cluster '{cluster.name}' has no level '{level}'; {suggest(level, names)}", field="slow_link"
        )
    return level


def _check_share(share: float, field_name: str) -> float:
    if not 0.0 < share <= 1.0:
        raise PlannerError(
            f"found {share:g}; accepted: the share that is left, above 0 and at most 1", field=field_name
        )
    return share


def _spread(value: str | float, field_name: str) -> float:
    spread = parse_quantity(value, "1", field=field_name)
    if spread > LARGEST_SPREAD:
        raise PlannerError(f"found {spread:g}; accepted: 0 to {LARGEST_SPREAD:g}", field=field_name)
    return spread


def _refused(text: str, example: str, field_name: str) -> PlannerError:
    return PlannerError(f"found '{text}'; accepted: {example}", field=field_name)
