"""Predicted against published collectives: ``plan validate collectives``."""

from planner.validation.collectives.compare import compare_collectives
from planner.validation.collectives.nvlink import compare_nvlink_rows

__all__ = ["compare_collectives", "compare_nvlink_rows"]
