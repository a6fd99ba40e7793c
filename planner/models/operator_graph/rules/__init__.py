"""Axes of each ATen function: one file per family of operators, and a table of all of them."""
