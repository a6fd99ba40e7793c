"""Checks one knob's value: type, range and spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

from planner.errors import PlannerError, suggest
from planner.layouts.knob_text import parse_scalar
from planner.layouts.layout import (
    DEFAULT_AXIS_ORDER,
    Offload,
    Recompute,
    RecomputeMode,
    Shard,
    StateClass,
    Tier,
)
from planner.models.graph import PARTS, ModelGraph

_LARGEST = 10**9
_TIERS: tuple[Tier, ...] = get_args(Tier)
_STATES: tuple[StateClass, ...] = get_args(StateClass)
_RECOMPUTE: tuple[RecomputeMode, ...] = get_args(RecomputeMode)
_SHARD_KEYS = ("parameters", "gradients", "optimizer", "parameters_secondary")


@dataclass(frozen=True)
class Place:
    """Where the knobs stand, for error messages."""

    file: str | None = None
    line: int | None = None
    prefix: str = "layout"

    def fail(self, knob: str, message: str) -> NoReturn:
        """Raises the error for one knob."""
        raise PlannerError(message, file=self.file, line=self.line, field=f"{self.prefix}.{knob}")


def whole_number(value: Any, knob: str, place: Place, *, least: int = 1) -> int:
    """An integer between ``least`` and a billion."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        place.fail(knob, f"'{value}' is not a whole number; accepted: {least}, {least + 1}, ...")
    if not least <= value <= _LARGEST:
        place.fail(knob, f"{value} is out of range; accepted: {least} to {_LARGEST}")
    return value


def truth(value: Any, knob: str, place: Place) -> bool:
    """true or false."""
    if value not in (0, 1):
        place.fail(knob, f"'{value}' is neither true nor false")
    return bool(value)


def choice(value: Any, knob: str, accepted: tuple[str, ...], place: Place) -> str:
    """One of the accepted words."""
    if not isinstance(value, str) or value not in accepted:
        place.fail(knob, f"'{value}' is unknown; {suggest(str(value), accepted)}")
    return value


def number_list(value: Any, knob: str, place: Place) -> tuple[int, ...]:
    """A list of whole numbers from 0, written ``[8, 8, 7]`` or ``8+8+7``."""
    if isinstance(value, str):
        value = [parse_scalar(part.strip()) for part in value.split("+")]
    elif isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, (list, tuple)) or not value:
        place.fail(knob, f"'{value}' is not a list of numbers such as [8, 8, 7]")
    return tuple(whole_number(item, knob, place, least=0) for item in value)


def recompute_layers(value: Any, pp: int, place: Place) -> int | tuple[int, ...] | None:
    """The first n layers of each pipeline rank: a number, or one per pipeline rank as ``[8, 8, 0]`` or ``8+8+0``."""
    if value is None or not isinstance(value, str | list | tuple):
        return None if value is None else whole_number(value, "recompute_layers", place)
    counts = number_list(value, "recompute_layers", place)
    if len(counts) != pp:
        place.fail(
            "recompute_layers",
            f"{len(counts)} entries for pp={pp}; accepted: one number, or one per pipeline rank",
        )
    return counts


def axis_order(value: Any, place: Place) -> tuple[str, ...]:
    """All mesh axes, innermost first, as a list or ``tp-cp-ep-dp-pp``."""
    items = value.replace("-", " ").split() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or sorted(map(str, items)) != sorted(DEFAULT_AXIS_ORDER):
        place.fail(
            "axis_order", f"'{value}' must name each of {', '.join(DEFAULT_AXIS_ORDER)} once, innermost first"
        )
    return tuple(str(item) for item in items)


def shard(value: Any, place: Place) -> Shard:
    """Shard groups; a state that is not named is as replicated as the rules allow (parameters <= gradients <= optimizer)."""
    if isinstance(value, Shard):
        return value
    if not isinstance(value, Mapping):
        place.fail(
            "shard", f"'{value}' is not a mapping such as {{parameters: 1, gradients: 1, optimizer: 64}}"
        )
    for key in value:
        if key not in _SHARD_KEYS:
            place.fail(f"shard.{key}", f"unknown state; {suggest(str(key), _SHARD_KEYS)}")
    sizes = {
        k: whole_number(v, f"shard.{k}", place, least=0 if k.endswith("secondary") else 1)
        for k, v in value.items()
    }
    parameters = sizes.get("parameters", 1)
    gradients = sizes.get("gradients", parameters)
    return Shard(
        parameters, gradients, sizes.get("optimizer", gradients), sizes.get("parameters_secondary", 0)
    )


def offload(value: Any, place: Place) -> Offload:
    """Tiers by state: ``{optimizer: host}`` or ``{optimizer: {tier: host, fraction: 0.5}}`` or ``none``."""
    if isinstance(value, Offload):
        return value
    if value is None or value == "none":
        return Offload()
    if not isinstance(value, Mapping):
        place.fail("offload", f"'{value}' is not a mapping such as {{optimizer: host}}")
    moves = {}
    for state, target in value.items():
        if state not in _STATES:
            place.fail(f"offload.{state}", f"unknown state; {suggest(str(state), _STATES)}")
        moves[state] = _move(target, f"offload.{state}", place)
    return Offload(**moves)


def _move(target: Any, knob: str, place: Place) -> tuple[Tier, float]:
    if isinstance(target, str):
        word, colon, text = target.partition(":")
        target = {"tier": word, **({"fraction": parse_scalar(text)} if colon else {})}
    if not isinstance(target, Mapping) or not set(target) <= {"tier", "fraction"} or "tier" not in target:
        place.fail(knob, f"'{target}' must be a tier or {{tier: host, fraction: 0.5}}")
    tier = next((t for t in _TIERS if t == target["tier"]), None)
    if tier is None:
        place.fail(f"{knob}.tier", f"'{target['tier']}' is unknown; {suggest(str(target['tier']), _TIERS)}")
    if tier == "hbm":
        return ("hbm", 0.0)
    fraction = target.get("fraction", 1.0)
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
        place.fail(f"{knob}.fraction", f"'{fraction}' is not a share above 0 and up to 1")
    return (tier, float(fraction))


def recompute(
    mode: Any, modules: Any, default_modules: tuple[str, ...], model: ModelGraph, place: Place
) -> Recompute:
    """Recompute policy; ``selective`` without modules takes the framework's own list, named ones bring their parts."""
    if isinstance(mode, Recompute):
        return mode
    name = "none" if mode is None and modules is None else ("selective" if mode is None else mode)
    if name is False:
        name = "none"
    choice(name, "recompute", _RECOMPUTE, place)
    kind = next(item for item in _RECOMPUTE if item == name)
    if modules is None:
        return Recompute(kind, default_modules if name == "selective" else ())
    if isinstance(modules, str):
        modules = [part.strip() for part in modules.split("+")]
    if not isinstance(modules, (list, tuple)) or not all(isinstance(module, str) for module in modules):
        place.fail("recompute_modules", f"'{modules}' is not a list of module names")
    if name != "selective" and modules:
        place.fail("recompute_modules", f"modules belong to recompute: selective, not to '{name}'")
    inside = [part for module in modules for part in PARTS.get(module, ()) if part in model.modules]
    return Recompute(kind, tuple(dict.fromkeys((*modules, *inside))))
