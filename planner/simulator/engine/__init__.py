"""Executors of a ``Program``: fixed durations, and transfers that share links."""
