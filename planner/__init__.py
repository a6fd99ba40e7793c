"""Distributed-training simulator and parallelism planner."""

from __future__ import annotations

__version__ = "0.1.0"
