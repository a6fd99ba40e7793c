"""What the user pins, caps or widens: ``search.fix``, ``search.limit`` and ``search.allow``, read into values per knob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError, suggest
from planner.jobs.knobs import SWITCHES
from planner.jobs.types import Job, SearchOptions
from planner.layouts import knob_values as read
from planner.layouts.aliases import schedule_name
from planner.layouts.knob_values import Place

CAPPED = ("tp", "cp", "ulysses", "ring", "pp", "vpp", "ep", "etp", "dp", "micro_batch", "grad_accum")
_KNOBS = (
    *CAPPED,
    "sp",
    "cp_kind",
    "schedule",
    "layers_per_stage",
    "zero_stage",
    "shard",
    "recompute",
    "recompute_modules",
    "recompute_layers",
    "offload",
    "axis_order",
)


@dataclass(frozen=True)
class Options:
    """Values and caps by knob; a knob without an entry keeps the reference space's values.

    Args:
        values: knob -> the only values to try, parsed (``schedule`` by name, ``offload`` as ``Offload``, ...).
        caps: knob -> largest value.
        idle_devices, uneven_stages: switches.
    """

    values: Mapping[str, tuple[Any, ...]]
    caps: Mapping[str, int]
    idle_devices: bool = False
    uneven_stages: bool = False

    def numbers(self, knob: str, reference: Iterable[int], *, cap: int | None = None) -> tuple[int, ...]:
        """Values of a numeric knob among ``reference``; ``cap`` is the reference space's own, which the user may lift."""
        wanted = self.values.get(knob)
        limit = self.caps.get(knob, cap if wanted is None else None)
        return tuple(
            value
            for value in reference
            if (wanted is None or value in wanted) and (limit is None or value <= limit)
        )

    def accepts(self, knob: str, value: int) -> bool:
        """Whether a derived number is wanted."""
        return bool(self.numbers(knob, (value,)))

    def choices(self, knob: str, reference: Iterable[Any]) -> tuple[Any, ...]:
        """The user's values of a knob that is no number, or those of the reference space."""
        return self.values.get(knob, tuple(reference))


def read_options(job: Job) -> Options:
    """The job's search options, checked.

    Raises:
        PlannerError: unknown knob or a value that it cannot have.
    """
    search = job.search
    values: dict[str, tuple[Any, ...]] = {}
    for knob, value in search.allow.items():
        if knob in SWITCHES:
            continue
        _known(knob, "allow", (*_KNOBS, *SWITCHES))
        items = value if isinstance(value, (list, tuple)) and not _is_single(knob, value) else [value]
        values[knob] = tuple(_value(knob, item, job, Place(prefix="search.allow")) for item in items)
    for knob, value in search.fix.items():
        _known(knob, "fix", _KNOBS)
        values[knob] = (_value(knob, value, job, Place(prefix="search.fix")),)
    for knob in search.limit:
        _known(knob, "limit", CAPPED)
    return Options(values, dict(search.limit), *(_switch(search, name) for name in SWITCHES))


def _switch(search: SearchOptions, name: str) -> bool:
    return read.truth(search.allow.get(name, False), name, Place(prefix="search.allow"))


def _known(knob: str, section: str, accepted: tuple[str, ...]) -> None:
    if knob not in accepted:
        raise PlannerError(f"unknown knob; {suggest(knob, accepted)}", field=f"search.{section}.{knob}")


def _is_single(knob: str, value: Iterable[Any]) -> bool:
    """Whether a list is one value of a knob whose values are lists themselves."""
    inner = list(value)
    return knob in ("layers_per_stage", "recompute_modules", "axis_order") and not any(
        isinstance(item, (list, tuple)) for item in inner
    )


def _value(knob: str, value: Any, job: Job, place: Place) -> Any:
    if knob in CAPPED:
        return read.whole_number(value, knob, place)
    if knob == "zero_stage":
        stage = read.whole_number(value, knob, place, least=0)
        if stage > 3:
            place.fail(knob, f"{stage} is not a ZeRO stage; accepted: 0, 1, 2, 3")
        return stage
    if knob == "recompute_layers":
        return -1 if value is None else read.whole_number(value, knob, place)
    if knob == "sp":
        return read.truth(value, knob, place)
    if knob == "schedule":
        return schedule_name(str(value), field=f"{place.prefix}.{knob}")
    if knob == "layers_per_stage":
        return read.number_list(value, knob, place)
    if knob == "axis_order":
        return read.axis_order(value, place)
    if knob == "cp_kind":
        return read.choice(value, knob, ("ring", "ulysses", "usp", "allgather"), place)
    if knob == "recompute":
        return read.recompute(value, None, job.selective_modules, job.model, place)
    if knob == "recompute_modules":
        return read.recompute("selective", value, (), job.model, place)
    return read.shard(value, place) if knob == "shard" else read.offload(value, place)
