"""Fit of the cost model's constants to published runs: priors, bounds, robust least squares. Docs: docs/calibration.md."""
