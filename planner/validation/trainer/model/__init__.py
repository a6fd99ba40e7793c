"""A decoder in plain modules: the same parameter names and the same arithmetic under every layout."""
