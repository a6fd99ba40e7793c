"""Measured steps of a user's own runs against their predictions, and what they teach of a framework."""
