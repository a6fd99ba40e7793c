"""Layouts: one for people, many as columns, their knobs, legality, rank groups and the search space."""
