"""Opens a config.json, finds its architecture and turns its fields into a checked ``ModelSpec``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from planner.documents import Document, fault
from planner.errors import PlannerError, suggest
from planner.models.huggingface.architecture import Architecture
from planner.models.huggingface.fields import Config
from planner.models.huggingface.registry import ARCHITECTURES
from planner.models.spec import ModelSpec

# Marks of fields that say nothing about which operators a layer has.
_SHAPELESS = re.compile(
    r"architectures|auto_map|dtype|version|cache|token|initializer|quantization|^_|label|rope|eps|dropout|std|model_type|loss"
)


def import_config(document: Document) -> ModelSpec:
    """The model that a Hugging Face ``config.json`` describes.

    Only the fields of the file are read: ``auto_map`` and the like, which name code, are ignored.

    Raises:
        PlannerError: unknown architecture, missing field, or a feature that the operators cannot express.
    """
    architecture = _architecture(document)
    config = Config(document, architecture.defaults, architecture.aliases)
    fields = architecture.convert(config)
    name = document.path.parent.name if document.path and document.path.name == "config.json" else None
    if document.path is not None and name is None:
        name = document.path.stem
    fields = {key: value for key, value in fields.items() if value is not None}
    try:
        return ModelSpec(name=name or architecture.name, source=architecture.name, **fields)
    except ValidationError as error:
        raise fault(document, (), error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _architecture(document: Document) -> Architecture:
    data = document.data
    named = data.get("architectures")
    if isinstance(named, list) and named and isinstance(named[0], str):
        found = next((item for item in ARCHITECTURES if item.name == named[0]), None)
        if found is None:
            raise _unknown(document, ("architectures",), named[0], [item.name for item in ARCHITECTURES])
        return found
    kind = data.get("model_type")
    if not isinstance(kind, str):
        raise fault(document, (), "names no architecture: 'architectures' (a list) or 'model_type' is needed")
    found = next((item for item in ARCHITECTURES if item.model_type == kind), None)
    if found is None:
        raise _unknown(document, ("model_type",), kind, [item.model_type for item in ARCHITECTURES])
    return found


def _unknown(document: Document, at: tuple[str, ...], name: str, names: list[str]) -> PlannerError:
    """Names the architecture, the fields that no supported one has, and the nearest supported one."""
    own = _own_fields(document.data)
    lacking = f"; no supported architecture has its fields {', '.join(own)}" if own else ""
    return fault(
        document,
        at,
        f"architecture '{name}' is not supported: what its layers compute is unknown here{lacking}; "
        f"a model YAML can describe it instead; {suggest(name, names)}",
    )


def _own_fields(data: Mapping[str, Any]) -> list[str]:
    known: set[str] = set()
    for architecture in ARCHITECTURES:
        known |= set(architecture.defaults) | set(architecture.aliases.values())
    return sorted(key for key in data if key not in known and not _SHAPELESS.search(key))[:6]
