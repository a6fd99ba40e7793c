"""Sweeps: one job over a grid or a sample of its fields, as a table that survives a kill."""
