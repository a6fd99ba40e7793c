"""Predictions against data: published runs, measured kernels, collective timings."""
