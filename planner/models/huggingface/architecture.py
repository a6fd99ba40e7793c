"""What the import knows about one architecture of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.models.huggingface.fields import Config

Fields = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """One supported architecture.

    Args:
        name: as in ``architectures`` of a config.json.
        model_type: as in ``model_type``, for files that name no architecture.
        convert: fields of ``ModelSpec`` from a configuration.
        defaults: what transformers (5.x) assumes for absent fields; only those that ``convert`` reads.
        aliases: canonical field name -> the name that this architecture writes.
    """

    name: str
    model_type: str
    convert: Callable[[Config], Fields]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
