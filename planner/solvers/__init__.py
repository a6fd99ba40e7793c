"""Choosing layouts: the exact search and the questions around it."""
