"""A document against a pydantic model: the first fault becomes one line that names file, line and field."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from planner.documents.reading import Document
from planner.errors import PlannerError, suggest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    Model = TypeVar("Model", bound=BaseModel)

Path = tuple[str | int, ...]


def validate(document: Document, model: type[Model], at: Path = ()) -> Model:
    """An instance of a pydantic model from the value at a path of the document.

    Args:
        document: where the value stands; its lines name the place of a fault.
        model: should forbid extra keys, so that a misspelt one is an error with a suggestion.
        at: keys and indices of the value inside the document.

    Raises:
        PlannerError: the value does not fit the model.
    """
    from pydantic import ValidationError

    data = document.at(at)
    if not isinstance(data, Mapping):
        raise fault(document, at, f"found {_kind(data)}; a mapping of keys to values is accepted")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _first(document, model, at, error) from None
    except PlannerError as error:
        inner = _split(error.field)
        raise fault(document, (*at, *inner), error.message) from None


def fault(document: Document | None, at: Iterable[str | int], message: str) -> PlannerError:
    """The error at a path of a document, with its file and line when they are known."""
    path = tuple(at)
    return PlannerError(
        message,
        file=document.path if document else None,
        line=document.line(path) if document else None,
        field=dotted(path) or None,
    )


def dotted(path: Iterable[str | int]) -> str:
    """``network[0].bandwidth`` from the keys and indices of a path."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def _first(document: Document, model: type[BaseModel], at: Path, error: ValidationError) -> PlannerError:
    # A misspelt key often also shows up as a missing one: the misspelling is the better message.
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")[
        0
    ]
    path = _known(document.at(at), details["loc"])
    message = _message(model, path, details)
    if details["type"] == "value_error" and not path:
        path, message = _between_fields(model, message)
    return fault(document, (*at, *path), message)


def _between_fields(model: type[BaseModel], message: str) -> tuple[Path, str]:
    """Path and message of a rule between fields, which begins with the dotted name of the field at fault."""
    name, _, rest = message.partition(" ")
    path = _split(name.rstrip(":"))
    if path and rest and path[-1] in _fields(model, path[:-1]):
        return path, rest
    return (), message


def _known(found: Any, location: Path) -> Path:
    """The part of pydantic's location that stands in the document: it also names union branches."""
    path: list[str | int] = []
    for index, key in enumerate(location):
        children: Any = (
            found if isinstance(found, Mapping) else dict(enumerate(found if _listed(found) else ()))
        )
        if key in children:
            found = children[key]
        elif index < len(location) - 1 or not isinstance(found, Mapping):
            continue
        path.append(key)
    return tuple(path)


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _message(model: type[BaseModel], path: Path, details: ErrorDetails) -> str:
    kind, found = details["type"], details["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {suggest(str(path[-1]), _fields(model, path[:-1]))}"
    if kind == "missing":
        return "is missing; it is required"
    if kind == "model_type" or kind == "dict_type" or kind == "model_attributes_type":
        return f"found {_kind(found)}; a mapping of keys to values is accepted"
    if kind == "value_error":
        return str(details.get("ctx", {}).get("error", details["msg"]))
    text = details["msg"]
    if kind == "literal_error" and isinstance(found, str):
        choices = [
            part.strip().strip("'") for part in details["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        return f"found '{found}'; {suggest(found, choices)}"
    return f"{text[:1].lower()}{text[1:]}; found {_kind(found)}"


def _fields(model: type[BaseModel], path: Path) -> list[str]:
    """Keys that the model accepts at a path below it."""
    current: Any = model
    for key in path:
        if isinstance(key, int):
            continue
        info = getattr(current, "model_fields", {}).get(key)
        if info is None:
            info = next(
                (item for item in getattr(current, "model_fields", {}).values() if item.alias == key), None
            )
        found = None if info is None else _model_in(info.annotation)
        if found is None:
            return []
        current = found
    return [str(item.alias or name) for name, item in current.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    """The pydantic model inside ``Model | None``, ``list[Model]``, ``dict[str, Model]``."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _split(field: str | None) -> Path:
    """The path of a dotted field such as ``network[0].bandwidth``."""
    if not field:
        return ()
    parts = field.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)
