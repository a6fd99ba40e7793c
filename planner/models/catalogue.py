"""Finds a model by preset name, file or inline mapping, and builds its graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.documents import Document, fault, load_document, validate
from planner.documents.bulk import load_bulk
from planner.errors import suggest
from planner.models.build import build_graph
from planner.models.graph import ModelGraph
from planner.models.spec import ModelSpec

PRESETS = Path(__file__).parent / "presets"
_PUBLISHED = ("source", "published_parameters", "published_active_parameters", "published_tolerance")


def list_models() -> tuple[str, ...]:
    """Names of all presets, sorted."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def load_model(
    reference: str | Mapping[str, Any],
    *,
    base: Path | None = None,
    document: Document | None = None,
    at: tuple[str | int, ...] = ("model",),
) -> tuple[ModelSpec, ModelGraph]:
    """The description and the graph of a model.

    Args:
        reference: preset name; path to a model YAML or to a Hugging Face ``config.json`` (or the folder that holds
            one); or a mapping of ``ModelSpec`` fields, where ``preset: NAME`` takes that preset as the start.
        base: folder that relative paths start from (default: the working directory).
        document: file that holds ``reference``, for the line numbers of messages.
        at: where ``reference`` stands in ``document``.

    Raises:
        PlannerError: unknown preset, unreadable file, unknown field or architecture, inconsistent dimensions.
    """
    spec = load_spec(reference, base=base, document=document, at=at)
    return spec, build_graph(spec)


def load_spec(
    reference: str | Mapping[str, Any],
    *,
    base: Path | None = None,
    document: Document | None = None,
    at: tuple[str | int, ...] = ("model",),
) -> ModelSpec:
    """As ``load_model`` without the graph."""
    if isinstance(reference, Mapping):
        if document is None:
            document, at = Document(None, dict(reference)), ()
        return _from_mapping(reference, document, at)
    if not isinstance(reference, str):
        raise fault(document, at, "a preset name, a path or a mapping is accepted")
    if reference in list_models():
        return _from_document(load_bulk(PRESETS / f"{reference}.yaml"), reference)
    path = (base or Path()) / reference
    folder, there = _found(path)
    named = path.suffix in (".yaml", ".yml", ".json") or "/" in reference
    if there or (named and document is None):
        path = path / "config.json" if folder else path
        return _from_document(load_document(path), path.stem)
    if named:
        raise fault(document, at, f"the model file {_shown(str(path))} does not exist")
    raise fault(document, at, _unknown(reference))


def _found(path: Path) -> tuple[bool, bool]:
    """(is a folder, is there at all)."""
    try:
        return path.is_dir(), path.exists()
    except (OSError, ValueError):  # a name that is too long or holds a null character
        return False, False


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:97] + "...")


def _from_document(document: Document, name: str) -> ModelSpec:
    data = document.data
    if not isinstance(data, Mapping):
        raise fault(document, (), "a mapping of model fields is accepted")
    if "architectures" in data or "model_type" in data:
        from planner.models.huggingface import import_config

        return import_config(document)
    return _from_mapping(data, document, (), name=name)


def _from_mapping(
    mapping: Mapping[str, Any], document: Document, at: tuple[str | int, ...], name: str | None = None
) -> ModelSpec:
    data = dict(mapping)
    preset = data.pop("preset", None)
    if preset is not None:
        data = _merged(_preset_data(preset, document, at), data)
    elif name is not None:
        data.setdefault("name", name)
    return validate(Document(document.path, _nested(at, data), document.lines), ModelSpec, at)


def _preset_data(preset: object, document: Document, at: tuple[str | int, ...]) -> dict[str, Any]:
    """Fields of a preset, without what is only true of the published model."""
    if not isinstance(preset, str) or preset not in list_models():
        raise fault(document, (*at, "preset"), _unknown(str(preset)))
    data = dict(load_bulk(PRESETS / f"{preset}.yaml").data)
    data.setdefault("name", preset)
    return {key: value for key, value in data.items() if key not in _PUBLISHED}


def _merged(start: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``start`` with ``changes``; sections merge, ``null`` takes a field away."""
    result = dict(start)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _nested(at: tuple[str | int, ...], data: dict[str, Any]) -> Any:
    """``data`` at a path of otherwise empty mappings, as ``validate`` wants it."""
    nested: Any = data
    for key in reversed(at):
        nested = {key: nested}
    return nested


def _unknown(name: str) -> str:
    return f"unknown model {_shown(name)}; {suggest(name, list_models())}"
