"""Attention over a sequence that several ranks share: Ulysses, ring, gathered keys and values."""
