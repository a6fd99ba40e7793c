"""Predicted against measured kernels of one device: ``plan validate kernels``."""

from planner.validation.kernels.compare import compare_kernels

__all__ = ["compare_kernels"]
