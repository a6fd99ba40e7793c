"""Hugging Face ``config.json`` to ``ModelSpec``: from a local file only, without running anything that it names."""

from __future__ import annotations

from planner.models.huggingface.reading import import_config

__all__ = ["import_config"]
