"""Measures the device and the network of a user and fits the cost model to them. Docs: docs/calibrate-your-hardware.md."""
