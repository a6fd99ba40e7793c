"""The set of layouts that a search goes through, generated as columns."""
