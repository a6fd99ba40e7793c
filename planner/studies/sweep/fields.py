"""What a sweep may vary: every single-valued field of a job by dotted path, and how its values are read."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from planner.documents import Document, validate
from planner.errors import PlannerError, suggest
from planner.hardware.accelerators import load_accelerator
from planner.hardware.loader import load_cluster
from planner.hardware.schema import ClusterFile
from planner.hardware.schema import Figure as Stated
from planner.jobs.figures import Figure, figures
from planner.jobs.files import OVERLAPS, JobFile, Knobs, Limits, Overlap
from planner.jobs.framework import load_framework
from planner.jobs.knobs import KNOBS, SWITCHES
from planner.jobs.types import Job
from planner.layouts import knob_values
from planner.layouts.knob_values import Place
from planner.layouts.layout import RecomputeMode
from planner.models.catalogue import load_spec
from planner.models.spec import ModelSpec
from planner.units import parse_quantity

Value = int | float | str | bool | list[Any] | None

HARDWARE, LAYOUT, FIX = "hardware.", "layout.", "search.fix."

_NEAREST = (LAYOUT, FIX, "training.", HARDWARE, "cluster.", "model.", "search.")
"""Sections in the order in which the last part of a path is looked up."""

_WORDS = ("cp_kind", "schedule", "recompute_modules", "axis_order", "layers_per_stage", "shard", "offload")
_FROM_ZERO = ("zero_stage", "recompute_layers")


@dataclass(frozen=True)
class Field:
    """One field that a sweep may vary.

    Args:
        path: dotted, from the top of the job; ``hardware.NAME`` for a figure of the cluster, ``layout.KNOB`` for a knob of
            the layout that is estimated.
        read: a value as written to the plain value that the job takes, in SI units.
    """

    path: str
    read: Callable[[object], Value]


def find_field(given: str, fields: Mapping[str, Field]) -> Field:
    """The field of a dotted path, or of its last part where that names one.

    Raises:
        PlannerError: there is none (the nearest is named), or several.
    """
    if given in fields:
        return fields[given]
    ends = [path for path in fields if path.endswith(f".{given}")]
    for section in _NEAREST:
        inside = [path for path in ends if path.startswith(section)]
        outermost = [path for path in inside if path.count(".") == min(item.count(".") for item in inside)]
        if len(outermost) > 1:
            raise PlannerError(f"'{given}' may be {' or '.join(sorted(outermost))}; name one", field="--over")
        if outermost:
            return fields[outermost[0]]
    raise PlannerError(f"no field '{given}' can be varied; {_nearest(given, fields)}", field="--over")


def _nearest(given: str, fields: Iterable[str]) -> str:
    names = {path.rpartition(".")[2] for path in fields}
    longer = [name for name in names if given in name]
    if longer:
        return f"did you mean '{min(longer, key=len)}'?"
    return suggest(given, fields if "." in given else names | set(fields))


def job_fields(base: Path | None) -> dict[str, Field]:
    """All fields of job files by path, models' and clusters' included; hardware figures and layout knobs come on top.

    Args:
        base: folder that relative paths of models and clusters start from.
    """
    found = [
        *_of_model(JobFile, ""),
        *_of_model(ModelSpec, "model."),
        *_of_model(ClusterFile, "cluster."),
        *_entries("search.limit", Limits, KNOBS),
        *_entries("search.allow", Knobs, (*KNOBS, *SWITCHES)),
        *_entries("training.overlap", Overlap, (*OVERLAPS, "bucket_bytes", "prefetch")),
        *knob_fields(FIX),
    ]
    named: Mapping[str, Callable[[str], object]] = {
        "model": lambda name: load_spec(name, base=base, document=Document(None, {"model": name})),
        "cluster": lambda name: load_cluster(name, base=base, document=Document(None, {}), calibrated=False),
        "cluster.accelerator": load_accelerator,
        "training.framework": load_framework,
    }
    return {field.path: field for field in found} | {
        path: Field(path, _name(path, load)) for path, load in named.items()
    }


def hardware_fields(job: Job) -> dict[str, Field]:
    """The figures of a job's hardware, as what-if questions name them."""

    def field(figure: Figure) -> Field:
        path = f"{HARDWARE}{figure.name}"
        return Field(path, lambda value: parse_quantity(value, figure.unit, field=path, allow_zero=False))

    return {f"{HARDWARE}{name}": field(figure) for name, figure in figures(job).items()}


def knob_fields(prefix: str) -> list[Field]:
    """The layout knobs below ``layout.`` or ``search.fix.``."""
    section = prefix.rstrip(".")
    readers: dict[str, Callable[[object], Value]] = dict.fromkeys(_WORDS, _plain)
    readers["sp"] = lambda value: knob_values.truth(value, "sp", Place(prefix=section))
    readers["recompute"] = lambda value: knob_values.choice(
        "none" if value in (None, False) else value,
        "recompute",
        get_args(RecomputeMode),
        Place(prefix=section),
    )
    for knob in KNOBS:
        readers.setdefault(knob, _whole(knob, section, 0 if knob in _FROM_ZERO else 1))
    return [Field(f"{prefix}{knob}", readers[knob]) for knob in KNOBS]


def _of_model(model: type[BaseModel], prefix: str) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        inner = _section(info.annotation)
        if inner is not None:
            yield from _of_model(inner, f"{prefix}{name}.")
        elif not _is_collection(info.annotation):
            yield Field(f"{prefix}{name}", _reader(f"{prefix}{name}", info))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a field takes, ``None`` and annotations left out."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    elif annotation is not type(None):
        yield annotation


def _section(annotation: Any) -> type[BaseModel] | None:
    """The mapping of fields that a field holds; a figure with its source is one value."""
    for part in _alternatives(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and part is not Stated:
            return part
    return None


def _is_collection(annotation: Any) -> bool:
    return all(typing.get_origin(part) in (dict, list) for part in _alternatives(annotation))


def _reader(path: str, info: FieldInfo) -> Callable[[object], Value]:
    kind = typing.Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return lambda value: _stored(_checked(path, kind, value))


def _entries(section: str, kind: Any, keys: Iterable[str]) -> Iterator[Field]:
    """One field for each key of a table."""

    def field(key: str) -> Field:
        path = f"{section}.{key}"
        return Field(path, lambda value: _stored(_checked(path, kind, {key: value})[key]))

    return map(field, keys)


def _checked(path: str, kind: Any, value: object) -> Any:
    holder = create_model("holder", value=(kind, ...))
    try:
        return validate(Document(None, {"value": value}), holder).model_dump()["value"]
    except PlannerError as error:
        raise PlannerError(error.message, field=path) from None


def _stored(value: Any) -> Value:
    if isinstance(value, dict):  # a figure with its source
        return typing.cast(Value, value["value"])
    return list(value) if isinstance(value, tuple) else value


def _whole(knob: str, section: str, least: int) -> Callable[[object], Value]:
    return lambda value: knob_values.whole_number(value, knob, Place(prefix=section), least=least)


def _plain(value: object) -> Value:
    return typing.cast(Value, value)


def _name(path: str, load: Callable[[str], object]) -> Callable[[object], Value]:
    def read(value: object) -> Value:
        if not isinstance(value, str):
            raise PlannerError(f"found {value!r}; a name is accepted", field=path)
        try:
            load(value)
        except PlannerError as error:
            raise PlannerError(error.message, file=error.file, line=error.line, field=path) from None
        return value

    return read
